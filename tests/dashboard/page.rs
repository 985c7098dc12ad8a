//! What the page shows, in a browser.

use std::time::Duration;

use axum::Router;
use bindu_cb::{CircuitState, SharedSettings, get_circuit_breaker, registry};

use crate::circuits::{Failure, closed, configure, fail_with, isolate, keyed, open};
use crate::site::Site;
use crate::tab::{ESCAPE, Tab};

/// The names that are shown, in their order.
const SHOWN: &str = "[...document.querySelectorAll('.circuit')].filter((row) => row.checkVisibility()).map((row) => row.querySelector('h2').innerText).join()";

async fn shown(tab: &Tab) -> String {
    tab.value(SHOWN).await.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_circuit_opens_and_closes_on_it_without_a_reload() {
    let _isolated = isolate();
    configure(Duration::from_secs(2));
    closed("a");
    closed("b");
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    assert_eq!(shown(&tab).await, "a,b");
    tab.run("window.notReloaded = true").await;

    open("b");
    tab.until("document.querySelector('.circuit .state').innerText === 'Open'").await;
    assert_eq!(shown(&tab).await, "b,a", "open ones come first");
    assert_eq!(tab.text("#summary").await, "1 open · 1 closed");
    assert_eq!(tab.value("document.title").await, "(1 open) Circuits");
    assert_eq!(tab.text("#said").await, "b is open");
    let next = tab.text(".circuit .next dd").await;
    assert!(["in 2 s", "in 1 s", "with the next call"].contains(&&*next), "{next}");
    tab.until("document.querySelector('.circuit .next dd').innerText === 'with the next call'")
        .await;
    // The calls of the seconds that it has watched.
    tab.until("document.querySelector('.circuit .chart .failure').getAttribute('d') !== ''").await;
    tab.until(
        "document.querySelector('.circuit .chart').getAttribute('aria-label').includes('1 failed')",
    )
    .await;
    tab.until("document.querySelector('.circuit .failed dd').innerText === '100 %'").await;

    let circuit = get_circuit_breaker("b");
    let probe = circuit.try_acquire().unwrap();
    tab.until("document.querySelector('.circuit .state').innerText === 'Half-open'").await;
    assert_eq!(shown(&tab).await, "b,a");
    probe.success();
    assert_eq!(circuit.state(), CircuitState::Closed);
    tab.until("document.querySelector('#summary').innerText === '2 closed'").await;
    assert_eq!(shown(&tab).await, "a,b");
    assert_eq!(tab.value("document.title").await, "Circuits");
    assert_eq!(tab.value("window.notReloaded").await, true);
    assert_eq!(tab.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_circuit_shows_its_last_failure_its_settings_and_their_sources() {
    let _isolated = isolate();
    fail_with("connection refused").await;
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    assert_eq!(tab.text(".why bdi").await, "connection refused");
    tab.run("document.querySelector('.to-panels').click()").await;
    let panels = tab.text(".panels").await;
    for text in [
        "failure_threshold\t7\t",
        "circuits.rs:",
        "recovery_timeout\t5m\tcode, all",
        "window\tnone\tdefault",
        "attempts\t1\t",
    ] {
        assert!(panels.contains(text), "{text} in {panels}");
    }
    // What changes is drawn again, what is folded away is not lost by that.
    fail_with("and again").await;
    tab.until("document.querySelector('.panels').innerText.includes('Failures in a row\t2')").await;
    assert_eq!(tab.text(".why bdi").await, "and again");
    configure(Duration::from_secs(42));
    tab.until("document.querySelector('.panels').innerText.includes('recovery_timeout\t42s')")
        .await;
}

#[tokio::test]
async fn keys_are_shown_under_their_operation() {
    let _isolated = isolate();
    let names =
        |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n:02}")).collect::<Vec<_>>();
    let operation = keyed("a", &names("good", 30), &names("bad", 2)).await;
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    assert_eq!(tab.text(".to-keys").await, "32 keys, 2 not closed");
    assert_eq!(tab.text("#summary").await, "1 closed · 2 keys not closed");
    tab.run("document.querySelector('.to-keys').click()").await;
    assert_eq!(tab.value("document.querySelectorAll('.key').length").await, 20);
    assert_eq!(tab.text(".key .state").await, "Open");
    assert_eq!(tab.text(".key .name").await, "bad00");
    assert_eq!(tab.text(".others").await, "and 12 more");
    assert_eq!(tab.text("#said").await, "");
    let good = operation.keyed("good00");
    good.call(|| async { Err::<(), _>(Failure("no".to_owned())) }).await.unwrap_err();
    tab.until("document.querySelector('#said').innerText === '3 keys of a not closed'").await;
}

#[tokio::test]
async fn one_call_in_a_minute_is_not_none() {
    let _isolated = isolate();
    closed("a");
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    // Nobody wants to wait a minute.
    tab.run(
        "const parse = JSON.parse;
         JSON.parse = (text) => {
           const view = parse(text);
           const none = Array(59).fill(0);
           view.circuits[0].last_minute = { success: [1, ...none], failure: [0, ...none], rejected: [0, ...none] };
           return view;
         };",
    )
    .await;
    tab.until("document.querySelector('.calls dd').innerText === '<0.1/s'").await;
}

#[tokio::test]
async fn it_is_filtered_by_name_and_the_address_keeps_the_filter() {
    let _isolated = isolate();
    for name in ["api:quote", "storage:load", "storage:save"] {
        closed(name);
    }
    let _operation = keyed("api:hook", &["acme".to_owned()], &[]).await;
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits#storage")).await;
    tab.until_live().await;
    assert_eq!(shown(&tab).await, "storage:load,storage:save");
    assert_eq!(tab.text("#matches").await, "2 of 4");
    assert_eq!(tab.value("document.querySelector('#filter').value").await, "storage");

    tab.press("/").await;
    tab.press("SA st").await;
    assert_eq!(shown(&tab).await, "storage:save", "each word, in any case");
    assert_eq!(tab.value("location.hash").await, "#SA%20st");
    tab.press(&ESCAPE.to_string()).await;
    assert_eq!(tab.value("location.hash").await, "");
    assert_eq!(shown(&tab).await, "api:hook,api:quote,storage:load,storage:save");
    tab.run("location.hash = 'acm'").await;
    tab.until(&format!("{SHOWN} === 'api:hook'")).await;
    tab.run("location.hash = '%'").await;
    tab.until("document.querySelector('#filter').value === ''").await;

    tab.run("location.hash = 'nobody'").await;
    tab.until(
        "document.querySelector('#nothing').innerText.startsWith('No circuit has such a name.')",
    )
    .await;
    // It goes on being filtered when something new comes.
    closed("nobody:else");
    tab.until(&format!("{SHOWN} === 'nobody:else'")).await;
    tab.run("document.querySelector('#clear').click()").await;
    assert_eq!(tab.text("#matches").await, "");
}

#[tokio::test]
async fn it_is_live_wherever_it_is_mounted() {
    let _isolated = isolate();
    closed("a");
    let router = bindu_cb::dashboard::router;
    let app = Router::new()
        .merge(router())
        .nest("/nested", router())
        .nest_service("/a:b/circuits", router());
    let site = Site::start(app);
    let tab = Tab::open(&site.url("/")).await;
    for path in ["/", "/?x=/y", "/nested", "/nested?x=y/", "/a:b/circuits", "/a:b/circuits/"] {
        tab.goto(&site.url(path)).await;
        tab.until_live().await;
        assert_eq!(shown(&tab).await, "a", "{path}");
        let status = tab
            .value("fetch(document.querySelector('#json').href).then((got) => got.status)")
            .await;
        assert_eq!(status, 200, "{path}");
    }
    assert_eq!(tab.complaints().await, [""; 0]);
}

#[tokio::test]
async fn where_there_is_no_circuit_it_says_so() {
    let _isolated = isolate();
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    assert!(tab.text("#nothing").await.starts_with("There is no circuit yet"));
    closed("a");
    tab.until(&format!("{SHOWN} === 'a'")).await;
    assert_eq!(tab.text("#nothing").await, "");
}

#[tokio::test]
async fn it_says_through_what_circuits_are_shared_and_that_it_is_away() {
    let _isolated = isolate();
    closed("a");
    // Nobody listens there.
    let settings = SharedSettings::new("redis://quentin:secret@127.0.0.1:1").namespace("billing");
    registry().share(settings).unwrap();
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    let shared = tab.text("#shared").await;
    assert!(shared.starts_with("Not connected"), "{shared}");
    assert!(shared.contains("127.0.0.1:1") && shared.contains("billing"), "{shared}");
    assert!(!shared.contains("secret") && !shared.contains("quentin"), "{shared}");
    registry().unshare();
    tab.until("document.querySelector('#shared').hidden").await;
}
