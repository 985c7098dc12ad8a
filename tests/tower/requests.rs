//! Requests are copied for the attempts to come, by a policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bindu_cb::testing::isolate;
use bindu_cb::tower::CloneRequest;
use tower::{Layer, ServiceExt};

use crate::support::*;

/// Counts its copies.
#[derive(Debug, Default)]
struct Counted(Arc<AtomicU32>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

/// How many copies a call makes.
async fn copies(operation: bindu_cb::OperationBuilder, server: Server) -> u32 {
    let request = Counted::default();
    let copies = Arc::clone(&request.0);
    let _ = layer(operation).layer(server).oneshot(request).await;
    copies.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_request_is_copied_before_each_attempt_but_the_last() {
    let _cb = isolate();
    assert_eq!(copies(operation("copied").attempts(3), Server::down()).await, 2);
    assert_eq!(copies(operation("copied").attempts(3), Server::up()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_one_attempt_or_for_an_open_circuit_is_not_copied() {
    let cb = isolate();
    assert_eq!(copies(operation("once").attempts(1), Server::down()).await, 0);
    cb.force_open("shut");
    assert_eq!(copies(operation("shut"), Server::up()).await, 0);
    cb.attempts(2);
    assert_eq!(copies(operation("once").attempts(1), Server::down()).await, 1);
}

/// Not `Clone`.
struct Body(Option<&'static str>);

fn buffered(body: &Body) -> Option<Body> {
    body.0.map(|text| Body(Some(text)))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_gets_one_attempt() {
    let _cb = isolate();
    let server = Server::refusing(1);
    let service = layer(operation("stream")).clone_request(buffered).layer(server.clone());
    let refused = service.clone().oneshot(Body(None)).await.unwrap_err();
    assert_eq!((refused.downcast_ref(), server.asked()), (Some(&Refused(1)), 1));
    assert_eq!(counts("stream").failure, 1, "as any call that has failed");

    assert_eq!(service.oneshot(Body(None)).await.unwrap(), 2);
    let service = layer(operation("buffered")).clone_request(buffered).layer(Server::refusing(2));
    assert_eq!(service.oneshot(Body(Some("text"))).await.unwrap(), 3);
}

/// Can be copied as often as its number says.
struct Copies(u32);

#[derive(Clone)]
struct Fewer;

impl CloneRequest<Copies> for Fewer {
    fn clone_request(&self, Copies(left): &Copies) -> Option<Copies> {
        left.checked_sub(1).map(Copies)
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_any_more_gets_no_further_attempt() {
    let _cb = isolate();
    let server = Server::down();
    let service = layer(operation("fewer").attempts(9)).clone_request(Fewer).layer(server.clone());
    let last = service.oneshot(Copies(2)).await.unwrap_err();
    assert_eq!((last.downcast_ref(), server.asked()), (Some(&Refused(3)), 3));
}
