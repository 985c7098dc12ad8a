//! A tab of a real browser.

use std::time::Duration;

use axum::http::Method;
use bindu_cb_test_servers::Browser;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::{ParseError, Url};

/// For what comes soon, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

pub const TAB: char = '\u{e004}';
pub const SHIFT: char = '\u{e008}';
pub const ENTER: char = '\u{e007}';
pub const ESCAPE: char = '\u{e00c}';

/// The browser is gone with its drop.
pub struct Tab {
    client: Client,
    _browser: Browser,
}

impl Tab {
    /// Shows the page at this address.
    pub async fn open(url: &str) -> Self {
        let browser = Browser::start();
        let capabilities = json!({
            "goog:chromeOptions": { "debuggerAddress": browser.debugger_address() },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is one") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let builder = builder.capabilities(capabilities);
        let client = builder.connect(&browser.driver_url()).await.expect("a session");
        client.goto(url).await.expect("the page is there");
        Self { client, _browser: browser }
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page is there");
    }

    /// The value of a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.client
            .execute(&script, Vec::new())
            .await
            .unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// As it is shown; nothing where it is not.
    pub async fn text(&self, selector: &str) -> String {
        let node = format!("document.querySelector({selector:?})");
        let text = self.value(&format!("{node}?.checkVisibility() ? {node}.innerText : ''")).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    pub async fn run(&self, script: &str) {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|e| panic!("{script}: {e}"));
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(expression).await != Value::Bool(true) {
            assert!(Instant::now() < deadline, "waited too long until {expression}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_live(&self) {
        self.until("document.querySelector('#stream').dataset.is === 'live'").await;
    }

    /// Presses keys, one after the other.
    pub async fn press(&self, keys: &str) {
        self.press_with(None, keys).await;
    }

    pub async fn press_with(&self, held: Option<char>, keys: &str) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        let held = |down: bool| {
            held.map(|value| if down { KeyAction::Down { value } } else { KeyAction::Up { value } })
        };
        let pressed =
            keys.chars().flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        for action in held(true).into_iter().chain(pressed).chain(held(false)) {
            actions = actions.then(action);
        }
        self.client.perform_actions(actions).await.expect("keys are pressed");
    }

    /// Shows the page on a screen of this size.
    pub async fn resize(&self, width: u32, height: u32) {
        let params =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        self.command("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// Has the page see a medium with this feature.
    pub async fn prefer(&self, feature: &str, value: &str) {
        let params = json!({ "features": [{ "name": feature, "value": value }] });
        self.command("Emulation.setEmulatedMedia", params).await;
    }

    async fn command(&self, name: &'static str, params: Value) {
        let body = json!({ "cmd": name, "params": params });
        let command = Command { path: "goog/cdp/execute", body };
        self.client.issue_cmd(command).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// What the browser has complained of since this was last asked: errors, and what the policy
    /// forbade.
    pub async fn complaints(&self) -> Vec<String> {
        let command = Command { path: "se/log", body: json!({ "type": "browser" }) };
        let log = self.client.issue_cmd(command).await.expect("there is a log");
        let lines = log.as_array().expect("a list of lines").iter();
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// One of the driver's own.
#[derive(Debug)]
struct Command {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
