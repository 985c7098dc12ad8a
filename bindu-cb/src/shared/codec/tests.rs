use proptest::prelude::*;

use super::*;

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z:/-]{0,12}", "[\\x00-\\x20:0-9-]{0,12}", ".{0,12}"]
}

fn phases() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![Phase::Closed, Phase::Open, Phase::ForcedOpen, Phase::ForcedClosed])
}

prop_compose! {
    fn messages()(
        op in texts(),
        mark in prop::option::of((any::<u64>(), any::<u64>())),
        (epoch, generation, revision) in (0..=LAST, 0..=LAST, 0..=LAST),
        phase in phases(),
        (left, wait, reopens) in (0..=LAST, 0..=LAST, any::<u8>()),
        by in prop::option::of((texts(), texts())),
        lease in prop::option::of((texts(), 0..=LAST)),
    ) -> Message {
        let mark = mark.map(|(time, number)| Mark { time, number });
        let stamp = Stamp { epoch, generation };
        let by = by.map(|(who, why)| By { who, why });
        Message { op, mark, news: News { stamp, revision, phase, left, wait, reopens, by, lease } }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
        prop::sample::select(vec!["done", "same", "changed", "lost", "1-2"])
            .prop_map(|text| Value::Bytes(text.into())),
    ];
    leaf.prop_recursive(2, 16, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Value::List))
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(message in messages()) {
        prop_assert_eq!(decode_message(&encode_message(&message)), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode_message(&bytes);
    }

    #[test]
    fn a_message_with_a_byte_changed_or_cut_is_a_message_or_an_error(
        message in messages(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode_message(&message);
        let at = at.index(bytes.len());
        prop_assert!(decode_message(&bytes[..at]).is_err());
        bytes[at] = byte;
        let _ = decode_message(&bytes);
        bytes.extend(b"1:x");
        prop_assert!(decode_message(&bytes).is_err() || byte != encode_message(&message)[at]);
    }

    #[test]
    fn any_value_is_an_answer_or_an_error(value in values()) {
        let _ = decode_reply(&value);
        let _ = decode_found(&value);
        let _ = decode_changes(&value);
    }
}

#[test]
fn an_unknown_version_is_an_error() {
    let error = decode_message(b"1:23:abc").unwrap_err();
    assert_eq!(error.to_string(), "the server's version is not understood");
}

#[test]
fn keys_and_arguments_are_as_the_script_wants_them() {
    let by = By { who: "x".repeat(300), why: "ü".repeat(300) };
    let action = Action::Manual { phase: Phase::ForcedOpen, by };
    let seen = Stamp { epoch: u64::MAX, generation: 3 };
    let command = Command { seen, deadline: 7, keep: u64::MAX, action };
    let call = encode("pay/eu", "a b{c}", &command);
    assert_eq!(call.keys[0], b"bindu-cb:1:{pay%2Feu/a b%7Bc%7D}:state");
    assert_eq!(call.keys[1], b"bindu-cb:1:{pay%2Feu/a b%7Bc%7D}:votes");
    assert_eq!(call.keys[2], b"bindu-cb:1:{pay%2Feu}:changes");
    let args: Vec<_> = call.args.iter().map(|arg| std::str::from_utf8(arg).unwrap()).collect();
    let channel = "bindu-cb:1:{pay%2Feu}:news";
    let numbers = ["9007199254740991", "3", "7", "1125899906842624"];
    assert_eq!(args[..3], ["manual", "a b{c}", channel]);
    assert_eq!(args[3..7], numbers);
    assert_eq!(args[7..], ["forced_open", &"x".repeat(200), &"ü".repeat(200)]);
}

#[test]
fn a_record_that_is_damaged_does_not_keep_the_others_from_being_read() {
    let news = News {
        stamp: Stamp { epoch: 1, generation: 2 },
        revision: 3,
        phase: Phase::Open,
        left: 4,
        wait: 5,
        reopens: 255,
        by: None,
        lease: None,
    };
    let message = Message { op: "op".to_owned(), mark: None, news };
    let right = encode_message(&message);
    let text = String::from_utf8(right.clone()).unwrap();
    let wrong = text.replace("3:255", "3:256").into_bytes();
    assert_ne!(wrong, right);
    let records = vec![Value::Bytes(wrong), Value::Bytes(right), Value::Nil];
    let (_, found) = decode_found(&Value::List(vec![Value::Int(9), Value::List(records)])).unwrap();
    assert_eq!(found, [Found::Unreadable, Found::Record(message), Found::Nothing]);
}
