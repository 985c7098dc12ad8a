//! That the servers do what tests believe they do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bindu_cb_test_servers::{Browser, Mode, Proxy, RedisServer};

/// Sends PING, and returns what comes back, and after how long.
fn ping(port: u16, patience: Duration) -> std::io::Result<(String, Duration)> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok((String::from_utf8_lossy(&answer).trim_end().to_owned(), begun.elapsed()))
}

const PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn a_server_is_stopped_continued_killed_and_restarted_empty() {
    let server = RedisServer::start();
    assert_eq!(server.cli(&["SET", "a", "1"]), "OK");

    server.stop();
    assert!(ping(server.port(), PATIENCE).is_err(), "it is stopped");
    server.cont();
    assert_eq!(server.cli(&["GET", "a"]), "1");

    server.kill();
    let refused = ping(server.port(), PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(server.cli(&["GET", "a"]), "");
    server.restart();
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[test]
fn a_server_may_have_a_password_and_a_replica() {
    let primary = RedisServer::options().with_password("p@ss").start();
    let replica = RedisServer::options().replica_of(&primary).start();
    primary.cli(&["SET", "a", "1"]);
    primary.cli(&["WAIT", "1", "1000"]);
    assert_eq!(replica.cli(&["GET", "a"]), "1");
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(replica.cli(&["SET", "a", "2"]), "OK");
}

#[test]
fn the_clock_of_a_server_can_be_moved() {
    let server = RedisServer::options().with_faketime(3_600).start();
    let seconds = || server.cli(&["TIME"]).lines().next().unwrap().parse::<i64>().unwrap();
    let now = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    assert!((seconds() - now() - 3_600).abs() <= 1);
    server.set_clock(-7_200);
    assert!((seconds() - now() + 7_200).abs() <= 1);
}

#[test]
fn a_server_dies_with_its_test_even_if_that_is_killed_and_the_server_stopped() {
    const VICTIM: &str = "TEST_SERVERS_VICTIM";
    if std::env::var_os(VICTIM).is_some() {
        let server = RedisServer::start();
        server.stop();
        println!("port {}", server.port());
        std::thread::sleep(Duration::from_mins(1));
    }
    let name = "a_server_dies_with_its_test_even_if_that_is_killed_and_the_server_stopped";
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(VICTIM, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    let mut output = std::io::BufReader::new(victim.stdout.take().unwrap());
    let port = loop {
        std::io::BufRead::read_line(&mut output, &mut printed).unwrap();
        if let Some((_, port)) = printed.split_once("port ") {
            break port.trim().parse::<u16>().unwrap();
        }
    };
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "it is stopped, and there");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "the server has outlived its test");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_proxy_changes_its_mode_while_it_is_used() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let ping = || ping(proxy.port(), PATIENCE);
    assert_eq!(ping().unwrap().0, "+PONG");

    proxy.set(Mode::Delay(Duration::from_millis(50)));
    let (answer, took) = ping().unwrap();
    assert_eq!(answer, "+PONG");
    assert!(took >= Duration::from_millis(100), "there and back, not in {took:?}");

    proxy.set(Mode::Torn);
    let (answer, took) = ping().unwrap();
    assert_eq!(answer, "+PONG");
    assert!(took >= Duration::from_millis(10), "a dozen bytes, not in {took:?}");

    proxy.set(Mode::Stall);
    assert!(ping().is_err());
    proxy.set(Mode::Refuse);
    assert!(ping().is_err());
    proxy.set(Mode::Pass);
    assert_eq!(ping().unwrap().0, "+PONG");
}

#[test]
fn a_proxy_cuts_what_there_is_and_delivers_late_what_came_while_it_stalled() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = [0; 7];

    proxy.set(Mode::Stall);
    stream.write_all(b"PING\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    proxy.set(Mode::Pass);
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");

    proxy.cut();
    assert!(matches!(stream.read(&mut answer), Ok(0) | Err(_)));
    assert_eq!(ping(proxy.port(), PATIENCE).unwrap().0, "+PONG");
}

#[test]
fn a_proxy_can_be_pointed_to_another_server() {
    let servers = [RedisServer::start(), RedisServer::start()];
    servers.iter().zip(["a", "b"]).for_each(|(server, name)| drop(server.cli(&["SET", "k", name])));
    let proxy = Proxy::to(servers[0].port());
    let get = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"GET k\r\n").unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        char::from(answer[4])
    };
    let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let mut before = connect();
    assert_eq!(get(&mut before), 'a');
    proxy.point_to(servers[1].port());
    assert_eq!((get(&mut before), get(&mut connect())), ('a', 'b'));
}

#[test]
fn a_browser_and_all_its_processes_die_with_it() {
    let browser = Browser::start();
    let profile = browser.profile();
    assert!(profile.exists() && processes_with(&profile) > 0, "it is there");
    assert!(browser.driver_url().starts_with("http://127.0.0.1:"));
    drop(browser);
    assert_eq!(processes_with(&profile), 0);
    assert!(!profile.exists());
}

/// That have this among their arguments.
fn processes_with(argument: &Path) -> usize {
    let argument = argument.to_string_lossy();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let has_it = |process: &std::fs::DirEntry| {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&*argument)
    };
    processes.filter(has_it).count()
}
