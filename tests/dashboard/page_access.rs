//! The page for everybody: by keyboard, on a phone, in the dark, with less motion.

use std::time::Duration;

use bindu_cb::get_circuit_breaker;
use serde_json::Value;

use crate::circuits::{closed, fail_with, isolate, keyed, open};
use crate::site::Site;
use crate::tab::{ENTER, SHIFT, TAB, Tab};

/// Circuits in every state there is.
async fn every_state() -> bindu_cb::Operation {
    closed("closed");
    open("open");
    closed("forced_open").force_open();
    closed("forced_closed").force_closed();
    let half_open = bindu_cb::Operation::builder("half_open").recovery_timeout(Duration::ZERO);
    let half_open = half_open.build().unwrap();
    open("half_open");
    std::mem::forget(get_circuit_breaker("half_open").try_acquire().unwrap());
    drop(half_open);
    fail_with("connection refused").await;
    keyed("keyed", &["good".to_owned()], &["bad".to_owned()]).await
}

/// What has the focus: its row, and what it is there.
const FOCUS: &str = "[document.activeElement.closest('.circuit')?.querySelector('h2').innerText, document.activeElement.id || document.activeElement.className].join(' ').trim()";

#[tokio::test]
async fn everything_can_be_reached_and_done_by_keyboard() {
    let _isolated = isolate();
    closed("a");
    closed("b");
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    let tab_key = TAB.to_string();

    let mut order = Vec::new();
    for _ in 0..4 {
        tab.press(&tab_key).await;
        order.push(tab.value(FOCUS).await);
        let outline = tab.value("getComputedStyle(document.activeElement).outlineStyle").await;
        assert_eq!(outline, "solid", "the focus is seen on {order:?}");
    }
    assert_eq!(order, ["filter", "a fold to-panels", "b fold to-panels", "json"]);
    tab.press_with(Some(SHIFT), &tab_key).await;
    assert_eq!(tab.value(FOCUS).await, "b fold to-panels", "and back");

    tab.press(&ENTER.to_string()).await;
    assert_eq!(tab.value("document.activeElement.getAttribute('aria-expanded')").await, "true");
    assert!(tab.text(".circuit:nth-child(2) .panels").await.contains("failure_threshold"));
    // The row moves to the top, and the focus with it.
    open("b");
    tab.until("document.querySelector('.circuit .state').innerText === 'Open'").await;
    assert_eq!(tab.value(FOCUS).await, "b fold to-panels");
    tab.press(" ").await;
    assert_eq!(tab.text(".panels").await, "");

    tab.press("/").await;
    assert_eq!(tab.value(FOCUS).await, "filter");
    tab.press("nobody/").await;
    assert_eq!(tab.value("document.querySelector('#filter').value").await, "nobody/");
    tab.press(&tab_key).await;
    assert_eq!(tab.value(FOCUS).await, "clear");
    tab.press(&ENTER.to_string()).await;
    assert_eq!(tab.value(FOCUS).await, "filter");
    assert_eq!(tab.value("document.querySelector('#filter').value").await, "");
}

#[tokio::test]
async fn on_a_narrow_screen_nothing_is_wider_than_it() {
    let _isolated = isolate();
    let _operation = every_state().await;
    let long = "n".repeat(300);
    let _long = keyed(&long, &[], std::slice::from_ref(&long)).await;
    fail_with(&long).await;
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    for width in [320, 360, 700, 1_000, 1_280] {
        tab.resize(width, 800).await;
        for _ in 0..2 {
            tab.until(&format!("innerWidth === {width}")).await;
            let widest = tab.value("document.documentElement.scrollWidth").await;
            assert_eq!(widest, width, "without scrolling sideways");
            tab.run("document.querySelectorAll('.fold').forEach((fold) => fold.click())").await;
        }
    }
    // The check can fail.
    tab.run("document.querySelector('h1').style.minWidth = '2000px'").await;
    assert!(tab.value("document.documentElement.scrollWidth").await.as_u64() > Some(1_280));
}

/// The least contrast of a text with what is behind it, and the text.
const CONTRAST: &str = r"
    const rgb = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
      for (; node; node = node.parentElement) {
        const color = rgb(getComputedStyle(node).backgroundColor);
        if (color[3] !== 0) return color;
      }
    };
    const texts = [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true })
      && [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()) && !['SCRIPT', 'STYLE'].includes(node.tagName));
    const found = texts.map((node) => {
      const [a, b] = [rgb(getComputedStyle(node).color), behind(node)].map(luminance);
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent];
    }).sort(([a], [b]) => a - b);
    return [found.length, ...found[0]];
";

#[tokio::test]
async fn by_day_and_in_the_dark_every_text_has_the_contrast_of_wcag_aa() {
    let _isolated = isolate();
    let _operation = every_state().await;
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    tab.run("document.querySelectorAll('.fold:not([hidden])').forEach((fold) => fold.click())")
        .await;
    let states = "new Set([...document.querySelectorAll('[data-state]')].map((row) => row.dataset.state)).size";
    assert_eq!(tab.value(states).await, 5);
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        tab.prefer("prefers-color-scheme", scheme).await;
        let value = tab.value(&format!("(() => {{ {CONTRAST} }})()")).await;
        let [count, least, text] = &value.as_array().unwrap()[..] else { panic!("{value}") };
        assert!(count.as_u64() > Some(100), "{count} texts");
        assert!(least.as_f64() >= Some(4.5), "{least} in the {scheme}: {text}");
        grounds.push(tab.value("getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(grounds[0], grounds[1]);
}

#[tokio::test]
async fn a_state_is_told_by_word_shape_and_colour() {
    let _isolated = isolate();
    let _operation = every_state().await;
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    for what in ["state.innerText", "state.querySelector('path').getAttribute('d')"] {
        let different = format!(
            "new Set([...document.querySelectorAll('.circuit .line > .state')].map((state) => {what})).size"
        );
        assert_eq!(tab.value(&different).await, 5, "{what}");
    }
}

#[tokio::test]
async fn nothing_moves_where_less_motion_is_preferred() {
    let _isolated = isolate();
    closed("a");
    closed("b");
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    tab.run("window.moved = []; addEventListener('animationstart', (event) => moved.push(event.animationName))").await;
    open("a");
    tab.until("moved.join() === 'changed'").await;
    tab.prefer("prefers-reduced-motion", "reduce").await;
    open("b");
    tab.until("document.querySelectorAll('.circuit[data-state=open]').length === 2").await;
    assert_eq!(tab.value("document.querySelector('.circuit:nth-child(2)').getAnimations({ subtree: true }).length").await, 0);
    assert_eq!(tab.value("moved.length").await, 1);
}

#[tokio::test]
async fn who_listens_hears_a_list_names_and_changes_and_nothing_each_second() {
    let _isolated = isolate();
    closed("a");
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    let live = tab
        .value(
            "[...document.querySelectorAll('[aria-live], [role=status]')].map((node) => node.id)",
        )
        .await;
    assert_eq!(live, serde_json::json!(["stream", "said"]));
    tab.run("window.heard = 0; for (const id of ['stream', 'said']) new MutationObserver(() => heard += 1).observe(document.getElementById(id), { subtree: true, childList: true, characterData: true })").await;
    let since = tab.text(".since dd").await;
    tab.until(&format!("document.querySelector('.since dd').innerText !== {since:?}")).await;
    assert_eq!(tab.value("heard").await, Value::from(0), "a second has passed");
    open("a");
    tab.until("document.querySelector('#said').innerText === 'a is open'").await;
    assert_eq!(tab.value("document.querySelector('#circuits').tagName + document.querySelector('.circuit').tagName").await, "OLLI");
    assert_eq!(
        tab.value("document.querySelector('label[for=filter]').innerText").await,
        "Filter by name"
    );
    assert_eq!(tab.value("document.querySelector('.to-panels').textContent").await, "Details of a");
}
