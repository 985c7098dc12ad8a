//! The page while its server is away.

use crate::circuits::{closed, isolate, open};
use crate::site::Site;
use crate::tab::Tab;

#[tokio::test]
async fn it_says_that_it_has_lost_the_server_and_finds_it_again() {
    let _isolated = isolate();
    closed("a");
    let mut site = Site::of_page();
    let tab = Tab::open(&site.url("/circuits")).await;
    tab.until_live().await;
    assert_eq!(tab.text("#lost").await, "");
    tab.run("window.notReloaded = true").await;

    site.stop();
    tab.until("document.querySelector('#stream').dataset.is === 'lost'").await;
    assert_eq!(tab.text("#stream").await, "Connection lost");
    assert!(tab.text("#lost").await.contains("What is below is how things were then"));
    assert_eq!(tab.text(".circuit .state").await, "Closed", "what was known is still there");
    open("a");

    site.restart();
    tab.until_live().await;
    tab.until("document.querySelector('.circuit .state').innerText === 'Open'").await;
    assert_eq!(tab.text("#lost").await, "");
    assert_eq!(tab.value("window.notReloaded").await, true);
}

#[tokio::test]
async fn a_stream_that_has_fallen_silent_is_lost_too() {
    let _isolated = isolate();
    closed("a");
    let site = Site::of_page();
    let server = site.url("").rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = bindu_cb_test_servers::Proxy::to(server);
    let tab = Tab::open(&format!("http://127.0.0.1:{}/circuits", proxy.port())).await;
    tab.until_live().await;
    proxy.set(bindu_cb_test_servers::Mode::Stall);
    tab.until("document.querySelector('#stream').dataset.is === 'lost'").await;
    proxy.set(bindu_cb_test_servers::Mode::Pass);
    tab.until_live().await;
}
