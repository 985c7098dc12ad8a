//! Names, keys and failures that would like to be more than text.

use bindu_cb::get_circuit_breaker;
use serde_json::Value;

use crate::circuits::{fail_with, isolate, keyed};
use crate::site::Site;
use crate::tab::Tab;

const HOSTILE: [&str; 6] = [
    "<script>window.hacked = 1; alert(1)</script>",
    "\"><img src=x onerror=\"window.hacked = 1; alert(1)\">",
    "</script></style></template><svg onload=alert(1)>",
    "javascript:window.hacked=1",
    "\n\nevent: circuits\ndata: {}\n\n",
    "{{constructor}} &lt;b&gt; \u{202e}txt.exe \u{2028}",
];

#[tokio::test]
async fn they_are_text() {
    let _isolated = isolate();
    let mut operations = Vec::new();
    for (number, text) in HOSTILE.into_iter().enumerate() {
        get_circuit_breaker(text).try_acquire().unwrap().failure();
        operations.push(keyed(&format!("keyed{number}"), &[], &[text.to_owned()]).await);
    }
    fail_with(&HOSTILE.concat()).await;
    let site = Site::of_page();
    // The address, too.
    let tab = Tab::open(&site.url("/circuits?<script>alert(1)</script>#")).await;
    tab.until_live().await;
    tab.run("document.querySelectorAll('.fold:not([hidden])').forEach((fold) => fold.click())")
        .await;

    let texts = |selector: &str| {
        format!("[...document.querySelectorAll('{selector}')].map((node) => node.textContent)")
    };
    let names = tab.value(&texts("h2 bdi")).await;
    let keys = tab.value(&texts(".key .name bdi")).await;
    let is_in = |list: &Value, text: &str| list.as_array().unwrap().iter().any(|item| item == text);
    for text in HOSTILE {
        assert!(is_in(&names, text), "{text} in {names}");
        assert!(is_in(&keys, text), "{text} in {keys}");
    }
    assert!(is_in(&tab.value(&texts(".line > .why bdi")).await, &HOSTILE.concat()));

    tab.run("location.hash = encodeURIComponent('<img src=x onerror=alert(1)>')").await;
    tab.until("document.querySelector('#filter').value.startsWith('<img')").await;
    let elements = "document.querySelectorAll('script, img, iframe, object, embed, form, base, [onload], [onerror]').length";
    assert_eq!(tab.value(elements).await, 1, "the page's own script");
    assert_eq!(tab.value("typeof window.hacked").await, "undefined");
    assert_eq!(tab.complaints().await, [""; 0]);
}

#[tokio::test]
async fn what_would_run_all_the_same_is_stopped_by_the_policy() {
    let _isolated = isolate();
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    for attack in [
        "document.body.innerHTML = '<img src=x onerror=\"window.hacked = 1\">'",
        "document.body.append(Object.assign(document.createElement('script'), { text: 'window.hacked = 1' }))",
        "setTimeout('window.hacked = 1')",
        "document.body.setAttribute('style', 'background: url(http://127.0.0.1:9/secret)')",
    ] {
        tab.run(&format!("try {{ {attack} }} catch {{}}")).await;
    }
    tab.run(
        "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/secret' }))",
    )
    .await;
    tab.run("fetch('http://127.0.0.1:9/secret').catch(() => window.stopped = true)").await;
    tab.until("window.stopped === true").await;
    assert_eq!(tab.value("typeof window.hacked").await, "undefined");
    let complaints = tab.complaints().await.join("\n");
    for rule in ["TrustedHTML", "TrustedScript", "style-src", "img-src", "connect-src"] {
        assert!(complaints.contains(rule), "{rule} in {complaints}");
    }
}
