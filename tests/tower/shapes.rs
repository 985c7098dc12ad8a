//! What the types allow: `Send` and not, names, services without errors.

use std::convert::Infallible;
use std::rc::Rc;

use bindu_cb::testing::isolate;
use bindu_cb::tower::{
    ByClassify, ByClone, ErrorsAreTransient, OperationLayer, OperationService, ResponseFuture,
};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::support::*;

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_service_that_is_send_is_send() {
    let _cb = isolate();
    let mut service = is_send(layer(operation("send")).layer(Server::refusing(1)));
    let call = is_send(begin(&mut service, "request").await);
    assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), 2);
    let boxed = BoxCloneSyncService::new(service);
    assert_eq!(boxed.oneshot("request").await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_need_not_be_send() {
    let _cb = isolate();
    let local = Rc::new(Server::refusing(1));
    let inner = service_fn(move |request: Rc<str>| {
        let server = (*local).clone();
        async move { server.oneshot(request).await }
    });
    let service = layer(operation("local")).layer(inner);
    assert_eq!(service.oneshot(Rc::from("request")).await.unwrap(), 2);
}

/// All types can be written down.
struct Client {
    service: OperationService<Server, ByClone, ErrorsAreTransient>,
}

impl Client {
    fn call(&mut self, n: u32) -> ResponseFuture<Server, u32, ByClone, ErrorsAreTransient> {
        self.service.call(n)
    }
}

#[tokio::test(start_paused = true)]
async fn types_have_names() {
    let _cb = isolate();
    let named: OperationLayer = layer(operation("named"));
    let mut client = Client { service: named.layer(Server::up()) };
    ServiceExt::<u32>::ready(&mut client.service).await.unwrap();
    assert_eq!(client.call(1).await.unwrap(), 1);
    let _: OperationLayer<ByClone, ByClassify> = named.classify();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_fail_can_be_rejected() {
    let cb = isolate();
    let inner = service_fn(|n: u32| async move { Ok::<_, Infallible>(n) });
    let service = layer(operation("infallible")).layer(inner);
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
    cb.force_open("infallible");
    let rejected: BoxError = service.oneshot(1).await.unwrap_err();
    assert!(is_open(&rejected));
}

#[tokio::test(start_paused = true)]
async fn a_layer_and_its_service_show_their_circuit() {
    let _cb = isolate();
    let layer = layer(operation("shown"));
    assert!(format!("{layer:?}").contains("shown"));
    let mut service = layer.layer(Server::up());
    assert!(format!("{service:?}").contains("shown"));
    assert!(format!("{:?}", begin(&mut service, ()).await).contains("ResponseFuture"));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "only a future that has ended is without its call")]
async fn a_call_that_has_ended_is_not_polled_again() {
    let _cb = isolate();
    let mut service = layer(operation("ended")).layer(Server::up());
    let mut call = Box::pin(begin(&mut service, ()).await);
    assert!(poll_once(call.as_mut()).is_ready());
    let _ = poll_once(call.as_mut());
}
