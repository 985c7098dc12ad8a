//! The routes.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;

use super::hub::Hub;
use super::page;
use crate::registry;

/// The page, to be mounted anywhere, behind your own authentication.
///
/// | path | |
/// | --- | --- |
/// | `/` | the page |
/// | `/events` | what the page lives on: server-sent events |
/// | `/circuits.json` | the same as JSON, once |
///
/// Under a path, `nest_service` answers with and without a slash at its end, `nest` only without;
/// [`Router::merge`] puts it at the root. It shows the circuits of the [registry](crate::registry)
/// that was in force where this was called. It needs a runtime with `enable_time`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use axum::Router;
/// use axum::routing::get;
///
/// let app: Router = Router::new()
///     .route("/", get(|| async { "the application itself" }))
///     .nest_service("/circuits", bindu_cb::dashboard::router());
/// # })
/// ```
pub fn router() -> Router {
    let hub = Hub::new(registry::current());
    let (of_events, of_json) = (hub.clone(), hub);
    Router::new()
        .route(
            "/",
            get(async || ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page::html())),
        )
        .route("/events", get(async move || events(&of_events)))
        .route("/circuits.json", get(async move || json(&of_json)))
        .layer(map_response(guard))
}

fn json(hub: &Hub) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], hub.json())
}

fn events(hub: &std::sync::Arc<Hub>) -> impl IntoResponse + use<> {
    let events = hub.events().map(Ok::<Bytes, Infallible>);
    // The second is for nginx, which would keep events back.
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events))
}

/// What every answer says: nothing of it runs, is framed, kept or told elsewhere.
async fn guard(mut response: Response) -> Response {
    let values = [
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in values {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
