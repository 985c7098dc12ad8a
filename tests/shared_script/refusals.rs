//! A script that is refused leaves nothing half done.

use bindu_cb::__shared::codec::{self, Call, PROTOCOL, decode_reply};
use bindu_cb::__shared::protocol::{Action, Answer, Command, LAST, Stamp};
use bindu_cb_test_servers::RedisServer;

use crate::server::Connection;

const STATE: &str = "bindu-cb:1:{fleet/op}:state";
const VOTES: &str = "bindu-cb:1:{fleet/op}:votes";
const CHANGES: &str = "bindu-cb:1:{fleet}:changes";

fn vote(voter: &str, quorum: u32, seen: Stamp) -> Call {
    let action = Action::Vote { voter: voter.to_owned(), wait: 60_000, reopens: 0, quorum };
    codec::encode("fleet", "op", &Command { seen, deadline: 0, keep: 60_000, action })
}

/// Everything there is, as bytes.
fn everything(connection: &mut Connection) -> Vec<String> {
    let mut keys = connection.strings(&["KEYS", "*"]);
    keys.sort();
    let dumps = keys.iter().map(|key| format!("{:?}", connection.run(&["DUMP", key])));
    let dumps: Vec<_> = dumps.collect();
    keys.into_iter().chain(dumps).collect()
}

/// With one vote of two.
fn voted(connection: &mut Connection) -> Stamp {
    let reply = connection.call(&vote("a", 2, Stamp::NONE)).unwrap();
    decode_reply(&reply).unwrap().message.unwrap().news.stamp
}

#[track_caller]
fn refuses(connection: &mut Connection, seen: Stamp, error: &str) {
    let before = everything(connection);
    let problem = connection.call(&vote("b", 2, seen)).unwrap_err();
    assert!(problem.contains(error), "{problem}");
    assert_eq!(everything(connection), before);
}

#[test]
fn a_server_without_memory_does_nothing_or_all_of_it() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    let seen = voted(&mut connection);
    connection.run(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    refuses(&mut connection, seen, "OOM");
    let read = connection.call(&codec::encode_read("fleet", &["op"])).unwrap();
    assert!(codec::decode_found(&read).is_ok(), "it can still be read");
    assert!(connection.call(&codec::encode_changes("fleet", None)).is_ok());
    connection.run(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    let reply = connection.call(&vote("b", 2, seen)).unwrap();
    assert_eq!(decode_reply(&reply).unwrap().answer, Answer::Done);
}

#[test]
fn keys_of_another_type_are_found_out_first() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    for key in [STATE, VOTES, CHANGES] {
        connection.run(&["FLUSHALL"]).unwrap();
        let seen = voted(&mut connection);
        connection.run(&["SET", key, "something else"]).unwrap();
        refuses(&mut connection, seen, "WRONGTYPE");
    }
}

#[test]
fn a_user_who_may_not_do_all_of_it_does_nothing() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    let seen = voted(&mut connection);
    for (name, denied) in [("a", "-publish"), ("b", "-xadd"), ("c", "-pexpireat"), ("d", "-zadd")] {
        let user = ["ACL", "SETUSER", name, "on", "nopass", "~*", "&*", "+@all", denied];
        connection.run(&user).unwrap();
        let mut theirs = Connection::to(&server);
        theirs.run(&["AUTH", name, "any"]).unwrap();
        refuses(&mut theirs, seen, "NOPERM");
    }
    let user = ["ACL", "SETUSER", "e", "on", "nopass", "~*", "&bindu-cb:2:*", "+@all"];
    connection.run(&user).unwrap();
    let mut theirs = Connection::to(&server);
    theirs.run(&["AUTH", "e", "any"]).unwrap();
    refuses(&mut theirs, seen, "NOPERM");
}

#[test]
fn what_the_documentation_asks_for_is_enough() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    let commands = "+eval +evalsha +time +hmget +hset +hdel +persist +pexpireat +del +zadd +zscore \
                    +zcount +zcard +zremrangebyscore +xadd +xrange +xrevrange +publish";
    let mut user = vec!["ACL", "SETUSER", "app", "on", "nopass", "~bindu-cb:1:*", "&bindu-cb:1:*"];
    user.extend(commands.split_whitespace());
    connection.run(&user).unwrap();
    connection.call(&vote("a", 2, Stamp::NONE)).unwrap();
    connection.call(&codec::encode_changes("fleet", None)).unwrap();
    let mut theirs = Connection::to(&server);
    theirs.run(&["AUTH", "app", "any"]).unwrap();
    let mut eval = |call: &Call| {
        let mut arguments = vec![b"EVAL".to_vec(), call.script.into(), b"3".to_vec()];
        arguments[2] = call.keys.len().to_string().into_bytes();
        arguments.extend(call.keys.iter().chain(&call.args).cloned());
        theirs.run(&arguments).unwrap()
    };
    let reply = eval(&vote("b", 2, Stamp::NONE));
    let seen = decode_reply(&reply).unwrap().message.unwrap().news.stamp;
    assert_eq!(decode_reply(&eval(&vote("b", 3, seen))).unwrap().answer, Answer::Done);
    assert_eq!(decode_reply(&eval(&vote("b", 2, seen))).unwrap().answer, Answer::Done);
    eval(&codec::encode_read("fleet", &["op"]));
    eval(&codec::encode_changes("fleet", None));
}

#[test]
fn a_record_of_a_later_version_is_left_alone() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    for (field, value) in [("schema", "2"), ("schema", "x"), ("state", "ajar")] {
        connection.run(&["FLUSHALL"]).unwrap();
        let seen = voted(&mut connection);
        connection.run(&["HSET", STATE, field, value]).unwrap();
        let before = everything(&mut connection);
        let reply = decode_reply(&connection.call(&vote("b", 2, seen)).unwrap()).unwrap();
        assert_eq!((reply.answer, reply.message), (Answer::Schema, None));
        assert_eq!(everything(&mut connection), before);
    }
}

#[test]
fn a_record_with_fields_missing_is_still_one() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    connection.run(&["HSET", STATE, "schema", "1", "state", "open", "owner", "a"]).unwrap();
    let action = Action::Lease { owner: "b".to_owned(), ttl: 5, lead: 0 };
    let command = Command { seen: Stamp::NONE, deadline: 0, keep: 9, action };
    let reply = connection.call(&codec::encode("fleet", "op", &command)).unwrap();
    assert_eq!(decode_reply(&reply).unwrap().answer, Answer::Done);
}

#[test]
fn the_largest_numbers_stay_exact() {
    let server = RedisServer::start();
    let mut connection = Connection::to(&server);
    let seen = Stamp { epoch: LAST - 3, generation: 0 };
    let action = Action::Vote { voter: "a".to_owned(), wait: u64::MAX, reopens: 255, quorum: 1 };
    let command = Command { seen, deadline: LAST, keep: u64::MAX, action };
    let reply = connection.call(&codec::encode("fleet", "op", &command)).unwrap();
    let news = decode_reply(&reply).unwrap().message.unwrap().news;
    assert_eq!(news.stamp, Stamp { epoch: LAST - 2, generation: 1 });
    assert_eq!((news.left, news.wait, news.reopens), (1 << 50, 1 << 50, 255));
    let stored = connection.strings(&["HMGET", STATE, "epoch", "wait"]);
    assert_eq!(stored, [(LAST - 2).to_string(), (1_u64 << 50).to_string()]);
    connection.run(&["HSET", STATE, "generation", &(LAST - 1).to_string()]).unwrap();
    for _ in 0..3 {
        let action = Action::Outcome { owner: "a".to_owned(), success: false, wait: 0 };
        connection.run(&["HSET", STATE, "owner", "a", "lease", &LAST.to_string()]).unwrap();
        connection.run(&["HSET", STATE, "ttl", &LAST.to_string(), "until", "0"]).unwrap();
        let generation = connection.strings(&["HMGET", STATE, "generation"])[0].parse().unwrap();
        let seen = Stamp { epoch: LAST - 2, generation };
        let command = Command { seen, deadline: 0, keep: 9, action };
        let reply = connection.call(&codec::encode("fleet", "op", &command)).unwrap();
        assert_eq!(decode_reply(&reply).unwrap().answer, Answer::Done);
    }
    assert_eq!(connection.strings(&["HMGET", STATE, "generation"]), [LAST.to_string()]);
}

#[test]
fn a_script_that_fails_after_a_write_is_not_this_one() {
    // The first write is the one that a server without memory refuses.
    let writes =
        ["HSET", "HDEL", "DEL", "ZREMRANGEBYSCORE", "ZADD", "PEXPIREAT", "XADD", "PUBLISH"];
    let at = |command: &str| PROTOCOL.find(&format!("redis.call('{command}'")).unwrap();
    assert!(writes.iter().skip(1).all(|command| at("HSET") < at(command)));
    for read in ["HMGET", "ZSCORE", "ZCOUNT", "ZCARD", "XREVRANGE"] {
        assert!(PROTOCOL.rfind(&format!("redis.call('{read}'")).unwrap() < at("HSET"), "{read}");
    }
}
