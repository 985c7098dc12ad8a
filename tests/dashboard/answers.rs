//! What the router answers, without a browser.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use bindu_cb::dashboard::router;
use bindu_cb::{SharedSettings, registry};
use serde_json::Value;
use tokio::time::advance;
use tower::ServiceExt;

use crate::circuits::{closed, configure, fail_with, isolate, keyed, open};

const PATHS: [&str; 3] = ["/", "/events", "/circuits.json"];

async fn ask(app: &Router, method: Method, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::ORIGIN, "http://evil.example").body(Body::empty());
    app.clone().oneshot(request.unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json() -> Value {
    let response = ask(&router(), Method::GET, "/circuits.json").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    serde_json::from_str(&text(response).await).unwrap()
}

fn operations(view: &Value) -> Vec<&str> {
    let circuits = view["circuits"].as_array().unwrap().iter();
    circuits.map(|circuit| circuit["operation"].as_str().unwrap()).collect()
}

fn circuit<'v>(view: &'v Value, operation: &str) -> &'v Value {
    let circuits = view["circuits"].as_array().unwrap();
    circuits.iter().find(|circuit| circuit["operation"] == operation).unwrap()
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let _isolated = isolate();
    let app = router();
    for (path, method) in
        PATHS.into_iter().flat_map(|path| [(path, Method::GET), (path, Method::POST)])
    {
        let response = ask(&app, method, path).await;
        let header = |name: header::HeaderName| response.headers()[name].to_str().unwrap();
        let policy: Vec<_> = header(header::CONTENT_SECURITY_POLICY).split("; ").collect();
        for rule in [
            "default-src 'none'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(&rule), "{path}: {rule}");
        }
        for of in ["script-src", "style-src"] {
            let rule = policy.iter().find(|rule| rule.starts_with(of)).unwrap();
            assert_eq!(rule.matches("'sha256-").count(), 1, "{rule}");
            assert!(!rule.contains("unsafe") && !rule.contains("self"), "{rule}");
        }
        assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(header::REFERRER_POLICY), "no-referrer");
        assert_eq!(header(header::CACHE_CONTROL), "no-store");
        let name = header::HeaderName::from_static("cross-origin-resource-policy");
        assert_eq!(header(name), "same-origin");
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}

#[tokio::test]
async fn nothing_but_reading_is_allowed() {
    let _isolated = isolate();
    open("storage");
    let app = router();
    for path in PATHS {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let response = ask(&app, method.clone(), path).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(
                ask(&app, method.clone(), path).await.status(),
                StatusCode::OK,
                "{method} {path}"
            );
        }
    }
    assert_eq!(ask(&app, Method::GET, "/reset").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_is_mounted_anywhere() {
    let _isolated = isolate();
    let own = || Router::new().route("/own", get(async || "own")).fallback(async || "fallback");
    let nested = |path| own().nest_service(path, router());
    for (app, base) in [
        (nested("/circuits"), "/circuits"),
        (nested("/ops/circuits/"), "/ops/circuits"),
        (own().nest("/circuits/", router()), "/circuits"),
        (
            own().nest("/ops", Router::new().nest_service("/{tenant}/circuits", router())),
            "/ops/a/circuits",
        ),
        (own().merge(router()), ""),
    ] {
        let page = text(ask(&app, Method::GET, &format!("{base}/")).await).await;
        assert!(page.starts_with("<!doctype html>"), "{base}");
        let json = text(ask(&app, Method::GET, &format!("{base}/circuits.json")).await).await;
        assert!(json.starts_with('{'), "{base}");
        assert_eq!(text(ask(&app, Method::GET, "/own").await).await, "own");
        assert_eq!(text(ask(&app, Method::GET, "/other").await).await, "fallback");
    }
    for app in [nested("/circuits"), own().nest("/circuits", router())] {
        let page = text(ask(&app, Method::GET, "/circuits").await).await;
        assert!(page.starts_with("<!doctype html>"), "without a slash");
    }
}

#[tokio::test]
async fn the_page_is_one_document_that_asks_for_nothing_else_and_tells_of_the_json() {
    let _isolated = isolate();
    let response = ask(&router(), Method::GET, "/").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let page = text(response).await;
    for outside in [" src=", "url(", "@import", "import(", "href=\"http", "innerHTML"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let (_, without_script) = page.split_once("<noscript>").unwrap();
    let (without_script, _) = without_script.split_once("</noscript>").unwrap();
    assert!(without_script.contains("/circuits.json"));
}

#[tokio::test(start_paused = true)]
async fn the_json_says_how_each_circuit_stands_open_ones_first() {
    let _isolated = isolate();
    closed("a").force_closed();
    closed("b");
    open("c");
    closed("d").force_open();
    fail_with("connection refused").await;
    advance(Duration::from_secs(2)).await;
    let view = json().await;
    assert_eq!(operations(&view), ["d", "c", "a", "b", "storage:save"]);

    let open = circuit(&view, "c");
    assert_eq!((&open["state"], &open["key"]), (&"open".into(), &Value::Null));
    assert_eq!(open["in_state_ms"], 2_000);
    assert_eq!(open["half_open_in_ms"], 298_000);
    let time = |of: &Value| humantime::parse_rfc3339(of.as_str().unwrap()).unwrap();
    let for_long = time(&view["at"]).duration_since(time(&open["since"])).unwrap();
    assert!((1_999..=2_001).contains(&for_long.as_millis()), "{for_long:?}");
    assert_eq!(circuit(&view, "b")["half_open_in_ms"], Value::Null);

    let save = circuit(&view, "storage:save");
    assert_eq!(
        (&save["last_failure"], &save["calls"]["failure"]),
        (&"connection refused".into(), &1.into())
    );
    assert_eq!((&save["consecutive_failures"], &view["shared"]), (&1.into(), &Value::Null));
    let setting = |key: &str| {
        let settings = save["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap()
    };
    assert_eq!(setting("failure_threshold")["value"], "7");
    let place = setting("failure_threshold")["source"].as_str().unwrap();
    assert!(place.contains("dashboard/circuits.rs:"), "{place}");
    assert_eq!(setting("recovery_timeout")["source"], "code, all");
    assert_eq!(setting("window")["source"], "default");
    assert_eq!(save["functions"][0]["location"], place);
    assert_eq!(save["functions"][0]["settings"][0]["key"], "attempts");
}

#[tokio::test]
async fn of_many_keys_those_that_are_not_closed_are_shown_and_lift_their_operation() {
    let _isolated = isolate();
    let names =
        |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n:02}")).collect::<Vec<_>>();
    closed("a");
    let _operation = keyed("b", &names("good", 30), &names("bad", 3)).await;
    let view = json().await;
    assert_eq!(operations(&view), ["b", "a"]);
    let keys = &circuit(&view, "b")["keys"];
    assert_eq!((&keys["total"], &keys["not_closed"]), (&33.into(), &3.into()));
    let shown = keys["shown"].as_array().unwrap();
    let shown: Vec<_> = shown.iter().map(|key| key["key"].as_str().unwrap()).collect();
    assert_eq!(shown.len(), 20);
    assert_eq!(shown[..4], ["bad00", "bad01", "bad02", "good00"]);
    assert_eq!(circuit(&view, "a")["keys"], Value::Null);
}

#[tokio::test]
async fn how_circuits_are_shared_is_told_without_a_password() {
    let _isolated = isolate();
    closed("a");
    // Nobody listens there.
    let settings = SharedSettings::new("redis://quentin:secret@127.0.0.1:1/2").namespace("billing");
    registry().share(settings.quorum(3)).unwrap();
    let view = json().await;
    registry().unshare();
    let shared = &view["shared"];
    assert_eq!((&shared["namespace"], &shared["quorum"]), (&"billing".into(), &3.into()));
    assert_eq!(shared["connected"], false);
    assert!(shared["server"].as_str().unwrap().contains("127.0.0.1:1"), "{shared}");
    assert!(
        !view.to_string().contains("secret") && !view.to_string().contains("quentin"),
        "{shared}"
    );
}

/// The names of all fields, those within others with the name of these before them.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
        Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(value, &path, found);
                found.insert(path);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_document_names_every_field_and_no_other() {
    let _isolated = isolate();
    configure(Duration::from_secs(1));
    let operation = bindu_cb::Operation::builder("a").window(bindu_cb::Window::Calls(10));
    let operation = operation.retry_budget(0.1).build().unwrap();
    operation.keyed("k").call(async || Ok::<_, std::io::Error>(())).await.unwrap();
    registry().share(SharedSettings::new("redis://127.0.0.1:1")).unwrap();
    let view = json().await;
    registry().unshare();
    let mut found = BTreeSet::new();
    fields(&view, "", &mut found);
    // That of a key has the same fields as that of an operation.
    found.retain(|path| !path.starts_with("circuits.keys.shown."));
    let document = include_str!("../../docs/DASHBOARD.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let named =
        rows.filter(|(_, rest)| rest.matches('|').count() == 2).map(|(path, _)| path.to_owned());
    assert_eq!(named.collect::<BTreeSet<_>>(), found);
}
