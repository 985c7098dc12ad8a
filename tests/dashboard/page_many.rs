//! The page of many circuits, and of such as change their states often.

use std::time::Duration;

use tokio::time::sleep;

use crate::circuits::{closed, isolate, open};
use crate::site::Site;
use crate::tab::Tab;

const FIRST: &str = "document.querySelector('.circuit h2').innerText";

#[tokio::test]
async fn a_row_goes_to_its_place_alone_and_is_pointed_out_once() {
    let _isolated = isolate();
    for name in ["a", "b", "c", "d", "e", "f"] {
        closed(name);
    }
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    tab.run(
        "const name = (row) => row.querySelector('h2').textContent;
         window.moved = [];
         new MutationObserver((all) => moved.push(...all.flatMap(({ addedNodes }) => [...addedNodes].map(name))))
           .observe(document.querySelector('#circuits'), { childList: true });
         window.pointedOut = [];
         addEventListener('animationstart', ({ target }) => pointedOut.push(name(target.closest('.circuit'))));
         window.ended = 0;
         addEventListener('animationend', () => ended += 1);",
    )
    .await;
    // From within to the top, and back.
    let (d, e) = (open("d"), open("e"));
    tab.until("document.querySelector('#summary').innerText.startsWith('2 open')").await;
    tab.until("ended === 2").await;
    d.reset();
    e.reset();
    tab.until(&format!("{FIRST} === 'a'")).await;
    tab.until("ended === 4").await;
    let moved = tab.value("[...moved].sort().join()").await;
    assert_eq!(moved, "d,d,e,e", "and none of those that had to make room");

    tab.run("location.hash = 'nobody'").await;
    tab.until("document.querySelector('#circuits').hidden").await;
    tab.run("location.hash = ''").await;
    tab.until("!document.querySelector('#circuits').hidden").await;
    tab.until("document.getAnimations().length === 0").await;
    assert_eq!(tab.value("pointedOut.length").await, 4, "not again out of the filter");
}

#[tokio::test]
async fn a_thousand_rows_are_filtered_without_being_numbered_and_all_are_there_for_who_listens() {
    let _isolated = isolate();
    for number in 0..1_000 {
        closed(&format!("circuit{number:03}"));
    }
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until("document.querySelectorAll('.circuit').length === 1000").await;
    // Items of a list are numbered, all that follow anew for each that is hidden: that took the
    // filter more than a second.
    let style = |name| format!("getComputedStyle(document.querySelector('.circuit')).{name}");
    assert_eq!(tab.value(&style("display")).await, "block");
    // Chromium leaves the content of others out of what it tells a screen reader.
    assert_eq!(tab.value(&style("contentVisibility")).await, "visible");
    tab.run("location.hash = 'circuit999'").await;
    tab.until("document.querySelector('#matches').innerText === '1 of 1000'").await;
    assert_eq!(tab.text(".circuit:last-child h2").await, "circuit999");
}

#[tokio::test]
async fn where_drawing_takes_long_the_page_rests_and_goes_on_with_the_newest() {
    let _isolated = isolate();
    let circuit = closed("a");
    let site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    tab.run(
        "const parse = JSON.parse;
         window.begun = [];
         JSON.parse = (text) => {
           begun.push(performance.now());
           while (performance.now() < begun.at(-1) + 200);
           return parse(text);
         };",
    )
    .await;
    for _ in 0..60 {
        circuit.force_open();
        sleep(Duration::from_millis(25)).await;
        circuit.reset();
        sleep(Duration::from_millis(25)).await;
    }
    circuit.force_closed();
    tab.until("document.querySelector('.circuit .state').innerText === 'Forced closed'").await;
    let rests = "begun.slice(1).map((time, index) => time - begun[index])";
    let count = tab.value(&format!("{rests}.length")).await.as_u64();
    assert!(count >= Some(2), "{count:?}");
    let least = tab.value(&format!("Math.min(...{rests})")).await.as_f64();
    assert!(least >= Some(990.0), "{least:?} ms from one to the next, of which it draws for 200");
}
