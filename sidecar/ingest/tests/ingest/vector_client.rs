//! The way back to a `vector` source: every way in which it may fail ends in no acknowledgement, a resend, and nothing lost.

use std::{sync::Arc, time::Duration};

use oddline_ingest::{
    Deliver, Detour, Failure, Outgoing,
    vector::client::{Client, ClientSettings, ClientTls},
};
use prost::Message;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::{
    support::{World, secret},
    vector_event::PushEventsRequest,
    vector_world::{Mood, Sink, Source, pending},
};

fn outgoing() -> Outgoing {
    let events = PushEventsRequest { events: vec![pending("odd", "app").event()] }.encode_to_vec();
    Outgoing { tag: Vec::new(), events, records: 1 }
}

async fn bound() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn client(world: &World, url: &str, timeout_ms: u64) -> Client {
    let (timeout, insist) = (Duration::from_millis(timeout_ms), Duration::from_secs(5));
    let settings = ClientSettings { timeout, insist, ..ClientSettings::new(url) };
    Client::new(settings, world.events.clone()).unwrap()
}

#[tokio::test]
async fn bytes_arrive_as_they_are_and_over_one_connection() {
    let world = World::new();
    let (listener, url) = bound().await;
    let source = Source::new(Mood::Takes);
    let _stop = source.serve(listener);
    let client = client(&world, &url, 20_000);
    for _ in 0..20 {
        client.deliver(&outgoing()).await.unwrap();
    }
    let came = source.came.lock().unwrap();
    assert_eq!(came.len(), 20);
    assert!(came.iter().all(|request| request.encode_to_vec() == outgoing().events));
}

#[tokio::test]
async fn refusals_are_told_with_their_cause_and_only_a_rejection_is_final() {
    let world = World::new();
    let (listener, url) = bound().await;
    let source = Source::new(Mood::Takes);
    let _stop = source.serve(listener);
    let client = client(&world, &url, 20_000);
    for (status, failure, told) in [
        (Status::data_loss("Delivery failed"), Failure::Rejected, "DataLoss: Delivery failed"),
        (Status::internal("failed to decode"), Failure::Refused, "Internal: failed to decode"),
        (Status::internal("Delivery error"), Failure::Away, "Internal: Delivery error"),
        (Status::unimplemented("no"), Failure::Away, "Unimplemented: no"),
        (Status::resource_exhausted("x".repeat(10_000)), Failure::Away, "ResourceExhausted: xxx"),
    ] {
        source.set(Mood::Refuses(status));
        let error = client.deliver(&outgoing()).await.unwrap_err();
        assert_eq!((error.failure, &error.address), (failure, &url));
        assert!(error.reason.starts_with(told) && error.reason.len() < 300, "{error}");
    }
    // One that stumbles over an event ends the request, and is there for the next one.
    source.set(Mood::Stumbles);
    let error = client.deliver(&outgoing()).await.unwrap_err();
    assert_eq!(error.failure, Failure::Refused, "{error}");
    assert_eq!(source.asked.available_permits(), 6, "none was asked twice");
    assert_eq!(world.events.delivery_errors.get(), 6);
}

#[tokio::test]
async fn a_source_that_is_late_is_waited_for_and_one_that_hangs_is_not() {
    let world = World::new();
    let (listener, url) = bound().await;
    let source = Source::new(Mood::Waits);
    let _stop = source.serve(listener);
    let patient = Arc::new(client(&world, &url, 20_000));
    let delivery = tokio::spawn({
        let patient = patient.clone();
        async move { patient.deliver(&outgoing()).await }
    });
    source.asked().await;
    assert!(!delivery.is_finished());
    source.gate.add_permits(1);
    delivery.await.unwrap().unwrap();
    source.set(Mood::Hangs);
    let error = client(&world, &url, 100).deliver(&outgoing()).await.unwrap_err();
    assert_eq!(error.reason, "DeadlineExceeded: no answer within 100ms");
    assert_eq!(error.failure, Failure::Silent);
}

#[tokio::test]
async fn a_source_that_comes_late_or_again_is_found_and_one_that_does_not_is_given_up() {
    let world = World::new();
    let (listener, url) = bound().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = ClientSettings { insist: Duration::from_millis(200), ..ClientSettings::new(&url) };
    let hasty = Client::new(settings, world.events.clone()).unwrap();
    let error = hasty.deliver(&outgoing()).await.unwrap_err();
    assert!(error.reason.starts_with("Unavailable") && error.reason.contains("refused"), "{error}");
    assert_eq!(error.failure, Failure::Away);

    let patient = Arc::new(client(&world, &url, 20_000));
    let delivery = tokio::spawn({
        let patient = patient.clone();
        async move { patient.deliver(&outgoing()).await }
    });
    let source = Source::new(Mood::Takes);
    let stop = source.serve(TcpListener::bind(address).await.unwrap());
    delivery.await.unwrap().unwrap();
    // It dies and comes again: the next delivery finds it, although the connection was kept.
    stop.cancel();
    let listener = loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    let _stop = source.serve(listener);
    patient.deliver(&outgoing()).await.unwrap();
    assert_eq!(source.came.lock().unwrap().len(), 2);
}

/// The whole chain: sink, sidecar, source. Whatever the source does, the sink hears of it and its resend arrives.
#[tokio::test]
async fn the_sink_is_acknowledged_only_when_the_source_has_acknowledged() {
    let world = World::new();
    let (listener, url) = bound().await;
    let address = listener.local_addr().unwrap();
    let source = Source::new(Mood::Refuses(Status::internal("Delivery error")));
    let stop = source.serve(listener);
    let settings = ClientSettings { insist: Duration::from_millis(100), ..ClientSettings::new(&url) };
    let back = Arc::new(Client::new(settings, world.events.clone()).unwrap());
    let mode = world.settings.mode();
    let detour = Detour::new(world.annotator(), mode, secret(), back, world.events.clone());
    let running = world.serve_web(world.vector(detour)).await;
    let sink = Sink::connect(running.address).await;
    let push = |name: &'static str| {
        let sink = sink.clone();
        async move { sink.push(vec![pending(name, "app").event()]).await }
    };
    // It refuses.
    let status = push("odd").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("Delivery error"), "{status}");
    // A sink behind it rejects: so it is told on.
    source.set(Mood::Refuses(Status::data_loss("Delivery failed")));
    assert_eq!(push("odd").await.unwrap_err().code(), Code::DataLoss);
    // It dies while it has the events.
    source.set(Mood::Hangs);
    while source.asked.try_acquire().map(|permit| permit.forget()).is_ok() {}
    let pushed = tokio::spawn(push("odd"));
    source.asked().await;
    stop.cancel();
    assert_eq!(pushed.await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert!(source.logs().is_empty());
    // It is back, and so is the resend.
    source.set(Mood::Takes);
    let listener = loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    let _stop = source.serve(listener);
    push("odd").await.unwrap();
    assert_eq!(source.logs().len(), 1);
    assert_eq!(source.logs()[0].root().at(&["anomaly", "status"]).unwrap().as_text(), Some("confirmed"));
}

#[tokio::test]
async fn addresses_and_certificates_are_checked_by_name() {
    let world = World::new();
    let error =
        |settings: ClientSettings| Client::new(settings, world.events.clone()).unwrap_err().to_string();
    assert!(error(ClientSettings::new("http://[")).starts_with("http://[: "));
    let tls = ClientTls { ca: b"no certificate".to_vec(), name: None };
    let told = error(ClientSettings { tls: Some(tls), ..ClientSettings::new("https://h:1") });
    assert_eq!(told, "https://h:1: tls ca: no CERTIFICATE section in the PEM");
}
