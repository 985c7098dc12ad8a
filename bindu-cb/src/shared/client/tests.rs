//! Against a real server, and against ones that behave worse than it can.

use std::future::Future;
use std::io::ErrorKind;
use std::time::Instant;

use bindu_cb_test_servers::{Mode, Proxy, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::shared::news::{News, Received, news};

const CHANNEL: &str = "news";
const NOTHING: [&str; 0] = [];

/// For what is to come soon, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);
/// Like the default, but for connecting, which a busy machine may delay.
const LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), command: Duration::from_millis(300) };
/// For scripts that are to be answered.
const PATIENT: Limits = Limits { connect: PATIENCE, command: PATIENCE };

async fn connect_within(url: &str, limits: Limits) -> Result<(Client, News<Vec<u8>>), ClientError> {
    let (sender, news) = news(8);
    let address = Address::parse(url).unwrap();
    Client::connect(&address, limits, move |message| sender.send(message), CHANNEL.as_bytes())
        .await
        .map(|client| (client, news))
}

async fn connect(url: &str) -> (Client, News<Vec<u8>>) {
    connect_within(url, PATIENT).await.unwrap()
}

/// What the harness does blocks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it comes soon")
}

async fn run(client: &Client, text: &'static str) -> Result<Answer, ClientError> {
    client.run(&Script::new(text), &NOTHING, &NOTHING).await
}

/// What is answered in time, be it after some tries.
async fn answered<F>(ask: impl Fn() -> F) -> Answer
where
    F: Future<Output = Result<Answer, ClientError>>,
{
    let trying = async {
        loop {
            match ask().await {
                Ok(answer) => break answer,
                Err(ClientError::Timeout { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    soon(trying).await
}

fn bytes(text: &str) -> Answer {
    Answer::Bytes(text.as_bytes().to_vec())
}

#[tokio::test]
async fn scripts_are_given_keys_and_arguments_and_their_answers_are_understood() {
    let server = RedisServer::start();
    let (client, _news) = connect(&server.url()).await;
    let script = Script::new(
        "redis.call('SET', KEYS[1], ARGV[1]) \
         return {1, -7, redis.call('GET', KEYS[1]), false, true, {ok = 'fine'}, {}, #ARGV, {{'deep'}}}",
    );
    let answer = client.run(&script, &["key"], &[b"\0\xff\r\n".as_slice(), b""]).await;
    assert_eq!(
        answer,
        Ok(Answer::List(vec![
            Answer::Int(1),
            Answer::Int(-7),
            Answer::Bytes(b"\0\xff\r\n".to_vec()),
            Answer::Nil,
            Answer::Int(1),
            bytes("fine"),
            Answer::List(vec![]),
            Answer::Int(2),
            Answer::List(vec![Answer::List(vec![bytes("deep")])]),
        ]))
    );
    assert_eq!(run(&client, "return redis.call('SET', 'a', '1')").await, Ok(bytes("OK")));
    assert_eq!(run(&client, "return nil").await, Ok(Answer::Nil));
}

#[tokio::test]
async fn a_script_that_the_server_does_not_know_is_sent_once() {
    let server = RedisServer::start();
    let (client, _news) = connect(&server.url()).await;
    let script = Script::new("return redis.call('INCR', 'runs')");
    for runs in 1..=3 {
        assert_eq!(client.run(&script, &NOTHING, &NOTHING).await, Ok(Answer::Int(runs)));
    }
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    for runs in 4..=5 {
        assert_eq!(client.run(&script, &NOTHING, &NOTHING).await, Ok(Answer::Int(runs)));
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_eval:calls=2,"), "{stats}");
    assert!(stats.contains("cmdstat_evalsha:calls=5,"), "{stats}");
}

#[tokio::test]
async fn messages_of_the_channel_arrive_as_they_were_sent() {
    let server = RedisServer::start();
    let (client, mut news) = connect(&server.url()).await;
    run(&client, "redis.call('PUBLISH', 'other', 'x') redis.call('PUBLISH', 'news', 'a\\0\\255')")
        .await
        .unwrap();
    assert_eq!(soon(news.next()).await, Received::Message(b"a\0\xff".to_vec()));
    // By somebody else, while nothing is asked.
    server.cli(&["PUBLISH", CHANNEL, "b"]);
    assert_eq!(soon(news.next()).await, Received::Message(b"b".to_vec()));
}

#[tokio::test]
async fn messages_that_nobody_reads_are_dropped_and_hold_nothing_up() {
    let server = RedisServer::start();
    let flood = "for i = 1, 10000 do redis.call('PUBLISH', 'news', i) end return 1";
    let (client, mut news) = connect(&server.url()).await;
    assert_eq!(run(&client, flood).await, Ok(Answer::Int(1)));
    assert_eq!(soon(news.next()).await, Received::Missed);

    // Nor if there is nobody.
    drop(news);
    assert_eq!(run(&client, flood).await, Ok(Answer::Int(1)));
}

#[tokio::test]
async fn the_database_of_the_url_is_selected() {
    let server = RedisServer::start();
    let url = format!("redis://127.0.0.1:{}/5", server.port());
    let (client, _news) = connect(&url).await;
    run(&client, "redis.call('SET', 'a', '1')").await.unwrap();
    assert_eq!(server.cli(&["-n", "5", "GET", "a"]), "1");

    let refused = connect_within(&format!("redis://127.0.0.1:{}/99", server.port()), PATIENT).await;
    assert_eq!(refused.unwrap_err().to_string(), "refused: ERR DB index is out of range");
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_of_the_file_system_is_as_good() {
    let path = std::env::temp_dir().join(format!("bindu-cb-{}.sock", std::process::id()));
    let path = path.to_str().unwrap();
    let server = RedisServer::options().with_arguments(&["--unixsocket", path]).start();
    let (client, _news) = connect(&format!("unix://{path}?db=2")).await;
    run(&client, "redis.call('SET', 'a', '1')").await.unwrap();
    assert_eq!(server.cli(&["-n", "2", "GET", "a"]), "1");
    let _ = std::fs::remove_file(path);
}

/// In a process of its own: which roots are trusted is said in the environment.
#[cfg(feature = "redis-tls")]
#[tokio::test]
async fn tls_is_spoken_to_a_server_whose_certificate_is_trusted_and_to_no_other() {
    const URL: &str = "BINDU_CB_TESTS_TLS_URL";
    if let Ok(url) = std::env::var(URL) {
        let connected = connect_within(&url, PATIENT).await;
        let error = match connected {
            Ok((client, _news)) => {
                assert_eq!(run(&client, "return 1").await, Ok(Answer::Int(1)));
                "none".to_owned()
            }
            Err(error) => error.to_string(),
        };
        println!("error: {error}.");
        return;
    }
    let server = RedisServer::options().with_password("hush").with_tls().start();
    let other = RedisServer::options().with_tls().start();
    let error_with = |url: &str, roots: &std::path::Path| {
        let name = std::thread::current().name().unwrap().to_owned();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(URL, url)
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(!printed.contains("hush"), "{printed}");
        let (_, error) = printed.split_once("error: ").unwrap();
        error.split_once('.').unwrap().0.to_owned()
    };
    assert_eq!(error_with(&server.tls_url(), &server.certificate()), "none");
    let stranger = error_with(&server.tls_url(), &other.certificate());
    assert!(stranger.contains("invalid peer certificate"), "{stranger}");
    let none = error_with(&server.tls_url(), "/nonexistent".as_ref());
    assert!(none.contains("no root certificates"), "{none}");
}

/// The code of a refusal. That it is fit for a log is checked on the way.
#[track_caller]
fn refusal<T>(result: Result<T, ClientError>) -> String {
    let Err(error) = result else { panic!("it should have been refused") };
    let printed = format!("{error} {error:?}");
    for secret in ["hush", "bob", "redis://"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(!printed.contains('\n'), "{printed}");
    match error {
        ClientError::Refused { code, .. } => code,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn a_login_that_is_refused_says_why_and_not_who() {
    let server = RedisServer::options().with_password("hush").start();
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    connect(&server.url()).await;
    connect(&at("default:hush@")).await;
    for (login, code) in [
        ("", "NOAUTH"),
        (":hush2@", "WRONGPASS"),
        ("bob:hush@", "WRONGPASS"),
        ("hush@", "WRONGPASS"),
    ] {
        assert_eq!(refusal(connect_within(&at(login), PATIENT).await), code, "{login}");
    }

    // One that repeats what it does not understand: HELLO 3 AUTH default hush.
    let server = RedisServer::options()
        .with_password("hush")
        .with_arguments(&["--rename-command", "HELLO", ""])
        .start();
    let refused = connect_within(&server.url(), PATIENT).await;
    assert!(refused.as_ref().unwrap_err().to_string().contains("HELLO 3 is needed"));
    assert_eq!(refusal(refused), "ERR");

    let server = RedisServer::options().with_arguments(&["--maxclients", "1"]).start();
    let _first = connect(&server.url()).await;
    let error = connect_within(&server.url(), PATIENT).await.unwrap_err();
    // It may close before it has read what it was sent, and then its answer is lost.
    let told = "refused: ERR it has too many clients";
    assert!(matches!(error, ClientError::Io { .. }) || error.to_string() == told, "{error}");
}

#[tokio::test]
async fn a_user_that_may_do_too_little_is_told_what() {
    let server = RedisServer::start();
    let port = server.port();
    let allow = |rules: &[&str]| {
        server.cli(&[&["ACL", "SETUSER", "bob", "reset", "on", ">hush"], rules].concat());
    };
    let url = format!("redis://bob:hush@127.0.0.1:{port}");

    allow(&["-@all", "+hello", "+subscribe"]);
    assert_eq!(refusal(connect_within(&url, PATIENT).await), "NOPERM", "not that channel");

    allow(&["-@all", "+hello", "+subscribe", "&news"]);
    let (client, _news) = connect(&url).await;
    let refused = run(&client, "return 1").await;
    assert!(refused.as_ref().unwrap_err().to_string().contains("'evalsha'"), "{refused:?}");
    assert_eq!(refusal(refused), "NOPERM");

    // All that the client itself needs.
    allow(&["-@all", "+hello", "+subscribe", "&news", "+evalsha", "+eval"]);
    let (client, _news) = connect(&url).await;
    assert_eq!(run(&client, "return 1").await, Ok(Answer::Int(1)));
}

#[tokio::test]
async fn a_server_that_cannot_says_why() {
    let server = RedisServer::start();
    let (client, _news) = connect(&server.url()).await;
    let write = "return redis.call('SET', 'a', '1')";
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(refusal(run(&client, write).await), "OOM");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(run(&client, write).await, Ok(bytes("OK")), "and can again");

    assert_eq!(refusal(run(&client, "return redis.call('LPUSH', 'a', '1')").await), "WRONGTYPE");
    assert_eq!(refusal(run(&client, "return {1, redis.error_reply('MINE a\\nb')}").await), "MINE");
    assert_eq!(refusal(run(&client, "this is no Lua").await), "ERR");

    let replica = RedisServer::options().replica_of(&server).start();
    let (client, _news) = connect(&replica.url()).await;
    assert_eq!(refusal(run(&client, write).await), "READONLY");
}

#[tokio::test]
async fn a_stopped_server_costs_a_time_limit_and_does_later_what_it_was_asked() {
    let server = RedisServer::start();
    let (client, _news) = connect_within(&server.url(), LIMITS).await.unwrap();
    let increment = Script::new("return redis.call('INCR', 'runs')");
    let ask = || client.run(&increment, &NOTHING, &NOTHING);
    assert_ne!(answered(ask).await, Answer::Int(0));

    server.stop();
    let begun = Instant::now();
    // Many more than the connection has room for.
    let asked: Vec<_> = (0..200).map(|_| ask()).collect();
    for answer in join_all(asked).await {
        assert_eq!(answer, Err(ClientError::Timeout { after: LIMITS.command }));
    }
    assert!(begun.elapsed() < PATIENCE, "at the same time, and that is not one after the other");
    let still_open = timeout(Duration::from_millis(50), client.closed()).await;
    assert!(still_open.is_err(), "nothing tells but the silence");

    // To it there is a connection, and no more.
    let limits = Limits { connect: Duration::from_millis(100), ..LIMITS };
    let refused = connect_within(&server.url(), limits).await;
    assert_eq!(refused.unwrap_err(), ClientError::Timeout { after: limits.connect });

    server.cont();
    // Late answers go to nobody: this one is of the question that it belongs to.
    let Answer::Int(runs) = answered(ask).await else { panic!("it counts") };
    assert!(runs > 2, "what had timed out has run: {runs}");
    let Answer::Int(again) = answered(ask).await else { panic!("it counts") };
    assert!(again > runs, "{again} after {runs}");
}

#[tokio::test]
async fn a_killed_server_fails_what_is_in_flight_at_once_and_closes_the_client() {
    let server = RedisServer::start();
    let (client, _news) = connect(&server.url()).await;
    server.stop();
    let begun = Instant::now();
    let (answer, (), server) = soon(async {
        tokio::join!(
            run(&client, "return 1"),
            client.closed(),
            blocking(move || {
                std::thread::sleep(Duration::from_millis(50));
                server.kill();
                server
            }),
        )
    })
    .await;
    assert!(matches!(answer, Err(ClientError::Io { .. })), "{answer:?}");
    assert!(begun.elapsed() < PATIENCE / 2, "no time limit was waited for");

    // For good, and immediately.
    soon(client.closed()).await;
    let answer = run(&client, "return 1").await;
    assert!(matches!(answer, Err(ClientError::Io { .. })), "{answer:?}");
    let refused = connect_within(&server.url(), PATIENT).await.unwrap_err();
    assert!(matches!(refused, ClientError::Io { kind: ErrorKind::ConnectionRefused, .. }));

    server.restart();
    soon(client.closed()).await;
    let (client, _news) = connect(&server.url()).await;
    assert_eq!(run(&client, "return redis.call('DBSIZE')").await, Ok(Answer::Int(0)));
}

/// Other clients than the one that asks.
fn clients(server: &RedisServer) -> usize {
    server.cli(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).lines().count()
}

#[tokio::test]
async fn a_dropped_client_leaves_neither_a_connection_nor_a_task() {
    let server = RedisServer::start();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (client, _news) = connect(&server.url()).await;
    assert_eq!((clients(&server), tasks()), (1, before + 1));

    // With something in flight that will not be answered.
    server.stop();
    let unanswered = timeout(Duration::from_millis(20), run(&client, "return 1")).await;
    assert!(unanswered.is_err());
    // Nor taken off our hands.
    let (script, long) = (Script::new("return 1"), [vec![0; 1 << 24]]);
    let unsent = client.run(&script, &NOTHING, &long);
    assert!(timeout(Duration::from_millis(50), unsent).await.is_err());
    let url = server.url();
    let connecting = connect_within(&url, PATIENT);
    assert!(timeout(Duration::from_millis(20), connecting).await.is_err());
    drop(client);
    soon(async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.cont();
    soon(async {
        while clients(&server) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_bad_network_delays_and_tears_but_confuses_nothing() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let url = server.url_at(proxy.port());
    let echo = Script::new("redis.call('PUBLISH', 'news', ARGV[1]) return ARGV[1]");

    proxy.set(Mode::Torn);
    let (client, mut news) = connect(&url).await;
    let long = "x".repeat(20);
    assert_eq!(client.run(&echo, &NOTHING, &[&long]).await, Ok(bytes(&long)));
    assert_eq!(soon(news.next()).await, Received::Message(long.into_bytes()));

    proxy.set(Mode::Pass);
    let (client, _news) = connect_within(&url, LIMITS).await.unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(200)));
    for number in 0..3 {
        let answer = client.run(&echo, &NOTHING, &[number.to_string()]).await;
        assert_eq!(answer, Err(ClientError::Timeout { after: LIMITS.command }));
    }
    proxy.set(Mode::Pass);
    let answer = answered(|| client.run(&echo, &NOTHING, &["last"])).await;
    assert_eq!(answer, bytes("last"), "not an answer that was late");

    proxy.cut();
    soon(client.closed()).await;
    proxy.set(Mode::Refuse);
    let refused = connect_within(&url, PATIENT).await;
    assert!(matches!(refused, Err(ClientError::Io { .. })), "{refused:?}");
    proxy.set(Mode::Stall);
    let limits = Limits { connect: Duration::from_millis(100), ..LIMITS };
    let stalled = connect_within(&url, limits).await;
    assert_eq!(stalled.unwrap_err(), ClientError::Timeout { after: limits.connect });
}

/// A server that answers to a client that connects as it should, then to one question with
/// `answer`, and then is silent.
async fn answering(answer: &'static str) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let subscribed = ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
        for reply in ["%0\r\n", subscribed, answer] {
            let mut question = [0; 4096];
            let _ = stream.read(&mut question).await;
            let _ = stream.write_all(reply.as_bytes()).await;
        }
        wait_for_close(&mut stream).await;
    };
    (port, tokio::spawn(serve))
}

async fn wait_for_close(stream: &mut TcpStream) {
    let mut further = [0; 64];
    while let Ok(1..) = stream.read(&mut further).await {}
}

#[tokio::test]
async fn what_is_not_understood_closes_the_client() {
    for answer in [
        "%1\r\n+a\r\n:1\r\n", // an answer to something else
        ">3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n", // said by nobody's wish
        "HTTP/1.1 400 Bad Request\r\n\r\n", // no Redis
        "$2\r\nabcd\r\n",
        "*2\r\n:1\r\n:x\r\n",
    ] {
        let (port, served) = answering(answer).await;
        let (client, _news) = connect(&format!("redis://127.0.0.1:{port}")).await;
        let error = soon(run(&client, "return 1")).await.unwrap_err();
        let is_expected = matches!(error, ClientError::Protocol { .. } | ClientError::Io { .. });
        assert!(is_expected, "{answer:?}: {error:?}");
        soon(client.closed()).await;
        soon(served).await.unwrap();
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let (port, served) = answering("$100\r\nhalf").await;
    let limits = Limits { command: Duration::from_millis(50), ..PATIENT };
    let (client, _news) =
        connect_within(&format!("redis://127.0.0.1:{port}"), limits).await.unwrap();
    let answer = run(&client, "return 1").await;
    assert_eq!(answer, Err(ClientError::Timeout { after: limits.command }));
    drop(client);
    soon(served).await.unwrap();
}

#[tokio::test]
async fn a_host_that_cannot_exist_is_an_error_in_one_line() {
    let error = connect_within("redis://:hush@no..such..host", PATIENT).await.unwrap_err();
    assert!(matches!(error, ClientError::Io { .. }), "{error:?}");
    assert!(!error.to_string().contains("hush") && !error.to_string().contains('\n'), "{error}");
}

/// All of them at the same time.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
