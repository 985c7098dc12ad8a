//! What a fleet says when it cannot do what it is asked.

use std::error::Error;
use std::time::{Duration, Instant};

use bindu_cb::{Fleet, SharedError, SharedSettings};
use bindu_cb_test_servers::{Mode, Proxy, RedisServer};

use crate::support::{connect, in_time, settings, soon};

#[tokio::test]
async fn who_does_it_must_be_said() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    for who in ["", " \n"] {
        let error = fleet.force_open("a", who, "why").await.unwrap_err();
        assert!(matches!(error, SharedError::Argument { name: "who", .. }), "{error:?}");
        assert!(error.to_string().starts_with("`who` is empty"), "{error}");
    }
    let error = fleet.reset("", "ada", "").await.unwrap_err();
    assert_eq!(error.to_string(), "`operation` is empty");
    assert!(in_time(|| fleet.list()).await.is_empty());
}

#[tokio::test]
async fn settings_that_cannot_be_used_say_so() {
    let error = Fleet::connect(&SharedSettings::new("redis://:hush@h/x")).await.unwrap_err();
    assert!(matches!(error, SharedError::Settings { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hush"));
    let boxed: Box<dyn Error + Send + Sync> = error.into();
    assert!(boxed.to_string().contains("database"), "{boxed}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let server = RedisServer::options().with_password("right").start();
    let url = server.url().replace("right", "hush");
    let settings = SharedSettings::new(url);
    let error = loop {
        match Fleet::connect(&settings).await {
            Err(SharedError::TimedOut { .. }) => {}
            answer => break answer.unwrap_err(),
        }
    };
    let text = "refused by the server: WRONGPASS the user or the password of the URL is wrong";
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, SharedError::Refused { .. }));
    let fleet = connect(&self::settings(&server)).await;
    assert!(!format!("{fleet:?} {error:?}").contains("right"), "{fleet:?}");
    assert!(format!("{fleet:?}").contains("***"), "{fleet:?}");
}

#[tokio::test]
async fn a_server_that_is_down_is_told_of_at_once() {
    let server = RedisServer::start();
    let mut fleet = connect(&settings(&server)).await;
    server.kill();
    let error = soon(fleet.changed()).await.unwrap_err();
    assert!(matches!(error, SharedError::NotConnected { .. }), "{error:?}");
    for error in [
        // It stays so.
        fleet.changed().await.unwrap_err(),
        fleet.list().await.unwrap_err(),
        fleet.force_open("a", "ada", "").await.unwrap_err(),
        Fleet::connect(&settings(&server)).await.unwrap_err(),
    ] {
        assert!(matches!(error, SharedError::NotConnected { .. }), "{error:?}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let settings = SharedSettings::new(server.url_at(proxy.port()));
    let mut fleet = connect(&settings).await;
    proxy.set(Mode::Stall);
    let begun = Instant::now();
    let error = fleet.list().await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 300ms");
    let error = fleet.force_open("a", "ada", "").await.unwrap_err();
    assert!(matches!(error, SharedError::TimedOut { .. }), "{error:?}");
    let error = soon(fleet.changed()).await.unwrap_err();
    assert_eq!(error.to_string(), "not connected: the server no longer answers");
    let error = Fleet::connect(&settings).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 1s");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_user_that_may_not_do_it_is_told_what() {
    let server = RedisServer::start();
    // May look, but not change anything.
    let rules = ["on", ">pw", "~bindu-cb:*", "&*", "+@read", "+evalsha", "+eval", "+subscribe"];
    let more = ["+scan", "+hello", "+time"];
    server.cli(&[&["ACL", "SETUSER", "viewer"][..], &rules, &more].concat());
    let admin = connect(&settings(&server)).await;
    in_time(|| admin.force_open("a", "ada", "")).await;
    let url = server.url().replace("redis://", "redis://viewer:pw@");
    let viewer = connect(&SharedSettings::new(url)).await;
    assert_eq!(in_time(|| viewer.list()).await.len(), 1);
    let error = viewer.reset("a", "eve", "").await.unwrap_err();
    assert!(matches!(error, SharedError::Refused { .. }), "{error:?}");
    assert!(error.to_string().starts_with("refused by the server: NOPERM"), "{error}");
}

#[tokio::test]
async fn a_record_that_is_not_understood_is_named() {
    let server = RedisServer::start();
    let fleet = connect(&settings(&server)).await;
    in_time(|| fleet.force_open("other", "ada", "")).await;
    server.cli(&["HSET", "bindu-cb:1:{default/new}:state", "schema", "2", "state", "closed"]);
    let text = "the record of \"new\" is of a later version of bindu-cb, or damaged";
    for error in [
        fleet.list().await.unwrap_err(),
        fleet.get("new").await.unwrap_err(),
        fleet.reset("new", "ada", "").await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), text);
        assert!(matches!(error, SharedError::NotUnderstood { .. }));
    }
    assert!(in_time(|| fleet.get("other")).await.is_some());
}
