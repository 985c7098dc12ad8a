//! The stream that the page lives on, under the paused clock.

use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use bindu_cb::dashboard::router;
use bindu_cb::{Event, get_circuit_breaker, registry};
use futures_util::{FutureExt, Stream, StreamExt};
use serde_json::Value;
use tokio::time::{Instant, advance};
use tower::ServiceExt;

use crate::circuits::{closed, isolate, keyed, open};

/// One that reads the stream.
struct Viewer {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>>>>,
}

impl Viewer {
    async fn of(app: &Router) -> Self {
        let request = Request::get("/events").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { stream: Box::pin(response.into_body().into_data_stream()) }
    }

    async fn bytes(&mut self) -> Bytes {
        self.stream.next().await.unwrap().unwrap()
    }

    /// What comes next, by the events' names.
    async fn next(&mut self) -> Vec<(String, Value)> {
        let text = String::from_utf8(self.bytes().await.to_vec()).unwrap();
        let events = text.strip_suffix("\n\n").unwrap().split("\n\n");
        events
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let data = data.strip_prefix("data: ").unwrap();
                assert!(!data.contains('\n'), "one line");
                let name = name.strip_prefix("event: ").unwrap();
                (name.to_owned(), serde_json::from_str(data).unwrap())
            })
            .collect()
    }

    async fn circuits(&mut self) -> Value {
        self.next().await.pop().unwrap().1
    }

    fn has_nothing(&mut self) -> bool {
        self.stream.next().now_or_never().is_none()
    }
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn settings_and_circuits_come_at_once_and_circuits_each_second() {
    let _isolated = isolate();
    closed("a");
    let mut viewer = Viewer::of(&router()).await;
    let begun = Instant::now();
    let first = viewer.next().await;
    assert_eq!((names(&first), begun.elapsed()), (vec!["settings", "circuits"], Duration::ZERO));
    let (settings, circuits) = (&first[0].1["circuits"][0], &first[1].1["circuits"][0]);
    assert_eq!((&settings["operation"], &circuits["operation"]), (&"a".into(), &"a".into()));
    assert!(!settings["settings"].as_array().unwrap().is_empty());
    assert!(circuits.get("settings").is_none() && circuits.get("functions").is_none());
    for second in 1..=3 {
        let next = viewer.next().await;
        assert_eq!(
            (names(&next), begun.elapsed()),
            (vec!["circuits"], Duration::from_secs(second))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn settings_come_again_when_they_are_others() {
    let _isolated = isolate();
    closed("a");
    let mut viewer = Viewer::of(&router()).await;
    viewer.next().await;
    crate::circuits::configure(Duration::from_secs(77));
    let events = viewer.next().await;
    assert_eq!(names(&events), ["settings", "circuits"]);
    assert!(events[0].1.to_string().contains(r#""value":"1m 17s""#));
    open("a");
    assert_eq!(names(&viewer.next().await), ["circuits"], "another order is nothing new");
    closed("b");
    assert_eq!(names(&viewer.next().await), ["settings", "circuits"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_state_is_told_within_a_tenth_of_a_second() {
    let _isolated = isolate();
    closed("a");
    let mut viewer = Viewer::of(&router()).await;
    viewer.circuits().await;
    advance(Duration::from_millis(500)).await;
    let changed = Instant::now();
    open("a");
    assert_eq!(viewer.circuits().await["circuits"][0]["state"], "open");
    assert_eq!(changed.elapsed(), Duration::ZERO);

    // However many there are, there is one sample each tenth of a second.
    let mut told = 0;
    while changed.elapsed() < Duration::from_millis(400) {
        for _ in 0..100 {
            get_circuit_breaker("a").reset();
            get_circuit_breaker("a").force_open();
        }
        viewer.circuits().await;
        told += 1;
    }
    assert_eq!((told, changed.elapsed()), (4, Duration::from_millis(400)));
    // And then they are in step again.
    viewer.circuits().await;
    assert_eq!(changed.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_made_once_for_all_viewers() {
    let _isolated = isolate();
    closed("a");
    let app = router();
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = Viewer::of(&app).await;
        viewer.bytes().await;
        viewers.push(viewer);
        advance(Duration::from_millis(300)).await;
    }
    for _ in 0..3 {
        let mut sent = Vec::new();
        for viewer in &mut viewers {
            sent.push(viewer.bytes().await);
        }
        // Not only equal: the same memory.
        assert!(sent.iter().all(|bytes| bytes.as_ptr() == sent[0].as_ptr()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_goes_on_with_the_newest_sample_and_has_missed_no_settings() {
    let _isolated = isolate();
    closed("a");
    let app = router();
    let (mut quick, mut slow) = (Viewer::of(&app).await, Viewer::of(&app).await);
    slow.next().await;
    quick.next().await;
    closed("b");
    for _ in 0..10 {
        quick.next().await;
    }
    let newest = quick.circuits().await;
    let next = slow.next().await;
    assert_eq!(names(&next), ["settings", "circuits"]);
    assert_eq!(next[1].1, newest);
    assert!(slow.has_nothing(), "what it has missed is not kept for it");
}

#[tokio::test(start_paused = true)]
async fn the_last_minute_is_counted_second_by_second_for_as_long_as_somebody_watches() {
    let _isolated = isolate();
    let circuit = closed("a");
    circuit.force_closed();
    let app = router();
    let minute = |view: &Value, outcome: &str| -> Vec<u64> {
        let counts = view["circuits"][0]["last_minute"][outcome].as_array().unwrap();
        counts.iter().map(|count| count.as_u64().unwrap()).collect()
    };
    let mut viewer = Viewer::of(&app).await;
    assert_eq!(minute(&viewer.circuits().await, "success"), [0; 0], "from before nothing is known");
    for second in 1..=3 {
        (0..second).for_each(|_| circuit.try_acquire().unwrap().success());
        circuit.try_acquire().unwrap().failure();
        viewer.circuits().await;
    }
    // A sample between seconds splits none of them.
    circuit.try_acquire().unwrap().success();
    advance(Duration::from_millis(500)).await;
    circuit.force_open();
    assert!(circuit.try_acquire().is_err());
    let view = viewer.circuits().await;
    assert_eq!(minute(&view, "success"), [1, 2, 3]);
    circuit.force_closed();
    viewer.circuits().await;
    let view = viewer.circuits().await;
    assert_eq!(minute(&view, "success"), [1, 2, 3, 1]);
    assert_eq!(minute(&view, "failure"), [1, 1, 1, 0]);
    assert_eq!(minute(&view, "rejected"), [0, 0, 0, 1]);

    for _ in 0..70 {
        viewer.circuits().await;
    }
    assert_eq!(minute(&viewer.circuits().await, "success"), [0; 60]);
    drop(viewer);
    advance(Duration::from_secs(10)).await;
    let mut viewer = Viewer::of(&app).await;
    assert_eq!(minute(&viewer.circuits().await, "success"), [0; 0], "nobody has watched");
}

#[tokio::test(start_paused = true)]
async fn seconds_that_nobody_had_time_for_share_evenly_what_came_in_them() {
    let _isolated = isolate();
    let circuit = closed("a");
    let mut viewer = Viewer::of(&router()).await;
    viewer.circuits().await;
    (0..7).for_each(|_| circuit.try_acquire().unwrap().success());
    advance(Duration::from_secs(3)).await;
    let view = viewer.circuits().await;
    assert_eq!(view["circuits"][0]["last_minute"]["success"], serde_json::json!([2, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_keys_are_among_those_of_their_operation() {
    let _isolated = isolate();
    let mut viewer = Viewer::of(&router()).await;
    viewer.circuits().await;
    let _operation = keyed("a", &["x".to_owned(), "y".to_owned()], &["z".to_owned()]).await;
    let view = loop {
        let view = viewer.circuits().await;
        if view["circuits"][0]["last_minute"]["success"][0].is_u64() {
            break view;
        }
    };
    let minute = &view["circuits"][0]["last_minute"];
    assert_eq!((&minute["success"][0], &minute["failure"][0]), (&2.into(), &1.into()));
    let keys = view["circuits"][0]["keys"]["shown"].as_array().unwrap();
    let of_key = |key: &Value| (key["key"].clone(), key["last_minute"]["success"][0].clone());
    let of_keys: Vec<_> = keys.iter().map(of_key).collect();
    assert_eq!(of_keys, [("z".into(), 0.into()), ("x".into(), 1.into()), ("y".into(), 1.into())]);
}

#[tokio::test(start_paused = true)]
async fn listeners_may_do_what_they_like_while_a_sample_is_taken() {
    let _isolated = isolate();
    let mut settings = bindu_cb::Settings::default();
    settings.all().failure_threshold(1).recovery_timeout(Duration::ZERO);
    settings.all().ramp_up(Duration::from_millis(1_500));
    registry().configure(settings);
    let subscription = registry().subscribe(|_: &Event| drop(registry().snapshot()));
    let mut viewer = Viewer::of(&router()).await;
    viewer.circuits().await;
    open("a");
    get_circuit_breaker("a").try_acquire().unwrap().success();
    let view = viewer.circuits().await;
    assert!(view["circuits"][0]["ramp_up"].is_f64(), "{view}");
    while viewer.circuits().await["circuits"][0]["ramp_up"].is_f64() {}
    subscription.unsubscribe();
}
