//! An HTTP service that answers what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

/// What the service answers next; when that has been said, "well", with 200.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<VecDeque<Response>>>);

impl Answers {
    /// A status and, unless it is empty, a `Retry-After`, for each of the next requests.
    ///
    /// # Panics
    ///
    /// If there is no such status or no such value of a header.
    pub fn next(&self, answers: &[(u16, &str)]) -> &Self {
        let answers = answers.iter().map(|&(status, retry_after)| {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut response = status.into_response();
            if !retry_after.is_empty() {
                let value = retry_after.parse().expect("a header's value");
                response.headers_mut().insert(RETRY_AFTER, value);
            }
            response
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
        self
    }

    /// The service, at `/`.
    pub fn routes(&self) -> Router {
        let answers = self.clone();
        Router::new().route("/", any(move || async move { answers.answer() }))
    }

    fn answer(&self) -> Response {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.unwrap_or_else(|| "well".into_response())
    }
}
