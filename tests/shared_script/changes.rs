//! One command tells which circuits have changed, and whether the server has lost data.

use bindu_cb::__shared::codec::{self, Call, Changes, Cursor, Found, Value};
use bindu_cb::__shared::protocol::{Action, By, Command, Phase, Stamp};
use bindu_cb_test_servers::RedisServer;

use crate::server::Connection;

fn change(op: &str) -> Call {
    change_by(op, "ops")
}

fn change_by(op: &str, who: &str) -> Call {
    let by = By { who: who.to_owned(), why: String::new() };
    let action = Action::Manual { phase: Phase::ForcedOpen, by };
    let command = Command { seen: Stamp::NONE, deadline: 0, keep: 1_000, action };
    codec::encode("fleet", op, &command)
}

struct Fleet {
    server: RedisServer,
    connection: Connection,
}

impl Fleet {
    fn start() -> Self {
        let server = RedisServer::start();
        let connection = Connection::to(&server);
        Self { server, connection }
    }

    fn changes(&mut self, op: &str) {
        self.connection.call(&change(op)).unwrap();
    }

    fn since(&mut self, cursor: Option<Cursor>) -> Changes {
        let value = self.connection.call(&codec::encode_changes("fleet", cursor)).unwrap();
        codec::decode_changes(&value).unwrap().1
    }

    fn start_here(&mut self) -> Cursor {
        match self.since(None) {
            Changes::Start { cursor } => cursor,
            other => panic!("{other:?}"),
        }
    }

    /// The operations, the latest first.
    fn changed(&mut self, cursor: &mut Cursor) -> Vec<String> {
        match self.since(Some(*cursor)) {
            Changes::Nothing => Vec::new(),
            Changes::Some { cursor: next, ops } => {
                assert_eq!(next.mark, ops[0].1);
                *cursor = next;
                ops.into_iter().map(|(op, _)| op).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn is_lost(&mut self, cursor: Cursor) {
        match self.since(Some(cursor)) {
            Changes::Lost { cursor } => assert_eq!(self.changed(&mut cursor.clone()), [""; 0]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_has_changed_is_told_once_each_and_by_its_push() {
    let mut fleet = Fleet::start();
    let mut cursor = fleet.start_here();
    assert_eq!(fleet.changed(&mut cursor), [""; 0]);
    let names = ["a", "b{}\r\n\0", "ü"];
    for name in names {
        fleet.changes(name);
    }
    fleet.connection.call(&change_by("a", "another")).unwrap();
    assert_eq!(fleet.changed(&mut cursor), ["a", "ü", "b{}\r\n\0"]);
    assert_eq!(fleet.changed(&mut cursor), [""; 0]);
    let reply = fleet.connection.call(&change_by("a", "a third")).unwrap();
    let message = codec::decode_reply(&reply).unwrap().message.unwrap();
    fleet.changed(&mut cursor);
    assert_eq!(message.mark, Some(cursor.mark));
}

#[test]
fn an_idle_fleet_is_told_next_to_nothing() {
    let mut fleet = Fleet::start();
    fleet.changes("a");
    let cursor = fleet.start_here();
    let reply = fleet.connection.call(&codec::encode_changes("fleet", Some(cursor))).unwrap();
    let Value::List(items) = reply else { panic!() };
    assert!(matches!(&items[..], [Value::Int(_), Value::Bytes(same)] if same == b"same"));
}

#[test]
fn what_is_trimmed_is_not_lost() {
    let mut fleet = Fleet::start();
    let mut none = fleet.start_here();
    fleet.changes("a");
    assert_eq!(fleet.changed(&mut none.clone()), ["a"]);
    let cursor = fleet.start_here();
    for i in 0..4_096 {
        fleet.connection.call(&change_by(&format!("op{i}"), "ops")).unwrap();
    }
    assert!(matches!(fleet.since(Some(cursor)), Changes::Behind { .. }));
    assert!(matches!(fleet.since(Some(none)), Changes::Behind { .. }));
    none = fleet.start_here();
    assert_eq!(none.count, 4_097);
    assert_eq!(fleet.connection.count(&["XLEN", "bindu-cb:1:{fleet}:changes"]), 4_096);
    // Long after all records are forgotten.
    assert_eq!(fleet.connection.count(&["PTTL", "bindu-cb:1:{fleet}:changes"]), -1);
    fleet.connection.run(&["XTRIM", "bindu-cb:1:{fleet}:changes", "MAXLEN", "1"]).unwrap();
    assert_eq!(fleet.changed(&mut none), [""; 0]);
}

/// What begins anew within the millisecond of what was lost bears the same marks.
fn pass_a_millisecond() {
    std::thread::sleep(std::time::Duration::from_millis(2));
}

#[test]
fn flushed_and_restarted_servers_have_lost_everything() {
    let mut fleet = Fleet::start();
    for name in ["a", "b"] {
        fleet.changes(name);
    }
    let cursor = fleet.start_here();
    fleet.connection.run(&["FLUSHALL"]).unwrap();
    pass_a_millisecond();
    fleet.is_lost(cursor);
    // Others have been there first; with more changes than before it asks for the same reading.
    fleet.changes("b");
    fleet.is_lost(cursor);
    fleet.changes("a");
    fleet.is_lost(cursor);
    let cursor = fleet.start_here();
    fleet.server.restart();
    fleet.connection = Connection::to(&fleet.server);
    fleet.is_lost(cursor);
}

#[test]
fn a_replica_that_has_not_heard_of_the_last_changes_has_lost_them() {
    let mut fleet = Fleet::start();
    fleet.changes("a");
    let replica = RedisServer::options().replica_of(&fleet.server).start();
    let mut promoted = Connection::to(&replica);
    while promoted.count(&["EXISTS", "bindu-cb:1:{fleet}:changes"]) == 0 {
        std::thread::yield_now();
    }
    promoted.run(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let heard = fleet.start_here();
    fleet.changes("b");
    let cursor = fleet.start_here();
    let mut fleet = Fleet { server: replica, connection: promoted };
    pass_a_millisecond();
    fleet.is_lost(cursor);
    // As many as were lost, and more.
    for name in ["c", "d", "e"] {
        fleet.changes(name);
        fleet.is_lost(cursor);
    }
    assert_eq!(fleet.changed(&mut heard.clone()), ["e", "d", "c"]);
}

#[test]
fn many_records_are_read_at_once() {
    let mut fleet = Fleet::start();
    fleet.changes("a");
    fleet.connection.call(&change("newer")).unwrap();
    fleet.connection.run(&["HSET", "bindu-cb:1:{fleet/newer}:state", "schema", "2"]).unwrap();
    let value = fleet.connection.call(&codec::encode_read("fleet", &["b", "a", "newer"])).unwrap();
    let (_, found) = codec::decode_found(&value).unwrap();
    let [Found::Nothing, Found::Record(message), Found::Unreadable] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&*message.op, message.mark, message.news.phase), ("a", None, Phase::ForcedOpen));
}
