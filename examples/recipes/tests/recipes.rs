//! The recipes, as their reader runs them, and what they say of the crates that they use.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bindu_cb_recipes::Service;
use bindu_cb_test_servers::{Mode, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const RECIPES: [&str; 5] = ["sqlx", "reqwest", "tonic", "worker", "axum"];

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo builds the package's examples with its tests.
fn program(recipe: &str) -> PathBuf {
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("recipe-{recipe}{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "cargo test -p bindu-cb-recipes builds {}", path.display());
    path
}

/// Killed when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The recipe asserts what it shows. That its circuit has opened and closed is seen in its log, too.
fn tells_its_story(recipe: &str) {
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(program(recipe));
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("BINDU_CB_")) {
        command.env_remove(name);
    }
    let (stdout, stderr) = (output.reopen().unwrap(), output.as_file().try_clone().unwrap());
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
    let mut running = Running(child);
    let end = Instant::now() + Duration::from_mins(1);
    let status = loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > end {
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let text = fs::read_to_string(output.path()).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{text}");
    let mut rest = &*text;
    for change in ["circuit breaker opened", "circuit breaker half-open", "circuit breaker closed"]
    {
        let (_, after) = rest.split_once(change).unwrap_or_else(|| panic!("no {change}:\n{text}"));
        rest = after;
    }
}

#[test]
fn sqlx() {
    tells_its_story("sqlx");
}

#[test]
fn reqwest() {
    tells_its_story("reqwest");
}

#[test]
fn tonic() {
    tells_its_story("tonic");
}

#[test]
fn worker() {
    tells_its_story("worker");
}

#[test]
fn axum() {
    tells_its_story("axum");
}

#[test]
fn each_recipe_is_short_and_the_readme_links_it() {
    let sources = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let sources =
        sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<_> =
        sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    let mut expected = RECIPES;
    expected.sort_unstable();
    assert_eq!(names, expected, "each has a test here");

    let readme = fs::read_to_string(folder().join("../../README.md")).unwrap();
    for name in names {
        let source = fs::read_to_string(folder().join(format!("{name}.rs"))).unwrap();
        let lines = source.lines().count();
        assert!(lines < 80, "{name}.rs has {lines} lines");
        assert!(readme.contains(&format!("(examples/recipes/{name}.rs)")), "no link to {name}.rs");
        let command = format!("`cargo run --example recipe-{name}`");
        assert!(source.contains(&command), "{name}.rs does not say how to run it");
        assert!(readme.contains(&command), "nor does the README");
    }
}

/// Why `is_transient` of the recipe looks for a source.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_grpc_connection_that_breaks_the_status_is_tonics_own_and_has_a_source() {
    let (answers, next) = std::sync::mpsc::channel();
    let service = Service::health(next).unwrap();
    let proxy = Proxy::to(service.url().rsplit(':').next().unwrap().parse().unwrap());
    let client = |url: String| HealthClient::new(Channel::from_shared(url).unwrap().connect_lazy());
    let request = HealthCheckRequest::default;

    let mut proxied = client(format!("http://127.0.0.1:{}", proxy.port()));
    proxied.check(request()).await.unwrap();
    proxy.set(Mode::Stall);
    let call = tokio::spawn(async move { proxied.check(request()).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.cut();
    let broken = call.await.unwrap().unwrap_err();
    assert!(matches!(broken.code(), Code::Unknown | Code::Cancelled), "{broken:?}");
    assert!(broken.source().is_some());

    answers.send(tonic::Status::unknown("a bug")).unwrap();
    let answer = client(service.url()).check(request()).await.unwrap_err();
    assert_eq!(answer.code(), Code::Unknown);
    assert!(answer.source().is_none());
}

/// Why `is_decode` is no mistake of the request there.
#[tokio::test]
async fn of_a_body_that_breaks_off_reqwests_error_is_one_of_decoding() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        assert!(connection.read(&mut [0; 1024]).await.unwrap() > 0);
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    });
    let response = reqwest::get(url).await.unwrap();
    served.await.unwrap();
    let error = response.text().await.unwrap_err();
    assert!(error.is_decode() && !error.is_body(), "{error:?}");
}
