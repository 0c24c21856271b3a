//! Connections of the HTTP listeners: bounded in number and time, drained at the end, with TLS.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use oddline_ingest::{
    Deliver, Limits, Outgoing,
    forward::tls::ServerTls,
    vector::client::{Client, ClientSettings, ClientTls},
    web::{Protocol, Web},
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::{
    support::World,
    vector_event::PushEventsRequest,
    vector_world::{Sink, pending},
};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

fn web(world: &World, router: Router) -> Web {
    let (limits, events) = (world.limits.clone(), world.events.clone());
    Web { name: "test", router, protocol: Protocol::Http1, tls: None, limits, events }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn read(socket: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4_096];
    let length = tokio::time::timeout(Duration::from_secs(20), socket.read(&mut bytes)).await;
    let length = length.expect("no answer in 20 s").unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test]
async fn connections_without_a_request_or_with_half_a_head_are_closed_in_time() {
    let mut world = World::new();
    let brief = Duration::from_millis(50);
    world.limits = Limits { handshake: brief, frame: brief, idle: brief, ..Limits::default() };
    let running = world.serve_web(web(&world, hello())).await;
    for half in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: h\r\nx-slow: "] {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(half).await.unwrap();
        while !read(&mut socket).await.is_empty() {}
    }
    // One that has asked may ask again, and is closed once it does not.
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(ASK).await.unwrap();
    assert!(read(&mut socket).await.ends_with("hello"));
    assert_eq!(read(&mut socket).await, "");
    // HTTP/2 that never says a word, nor after its greeting.
    let running = world.serve_vector().await;
    for half in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(half).await.unwrap();
        while !read(&mut socket).await.is_empty() {}
    }
}

#[tokio::test]
async fn a_connection_past_the_limit_waits_for_a_place() {
    let mut world = World::new();
    world.limits = Limits { connections: 2, ..Limits::default() };
    let running = world.serve_web(web(&world, hello())).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(ASK).await.unwrap();
        assert!(read(&mut socket).await.ends_with("hello"));
        open.push(socket);
    }
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        socket.write_all(ASK).await.unwrap();
        waiting.push(socket);
    }
    assert_eq!(world.events.connections.get(), 2);
    open.clear();
    for mut socket in waiting {
        assert!(read(&mut socket).await.ends_with("hello"));
    }
}

#[tokio::test]
async fn what_is_in_hand_at_the_end_is_finished_and_no_more_taken() {
    let world = World::new();
    let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let router = {
        let (entered, gate) = (entered.clone(), gate.clone());
        Router::new().route(
            "/",
            get(move || async move {
                entered.add_permits(1);
                gate.acquire().await.unwrap().forget();
                "late"
            }),
        )
    };
    let running = world.serve_web(web(&world, router)).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(ASK).await.unwrap();
    entered.acquire().await.unwrap().forget();
    running.shutdown.cancel();
    // Once the listener is gone nobody else is let in, and the one in hand is still there.
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.task.is_finished());
    gate.add_permits(1);
    assert!(read(&mut socket).await.ends_with("late"));
    running.task.await.unwrap();
}

#[tokio::test]
async fn only_who_has_a_certificate_of_the_authority_may_send() {
    let world = World::new();
    let own = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (server, member, stranger) = (own(), own(), own());
    let pem =
        |cert: &rcgen::CertifiedKey<rcgen::KeyPair>| (cert.cert.pem(), cert.signing_key.serialize_pem());
    let (certificate, key) = pem(&server);
    let tls = |ca: Option<&str>| {
        ServerTls::new(certificate.as_bytes(), key.as_bytes(), ca.map(str::as_bytes)).unwrap().for_http2()
    };
    // Our own client trusts the server by its certificate, and shows none.
    let running = world.serve_web(Web { tls: Some(tls(None)), ..world.vector(world.detour()) }).await;
    let deliver = async |address, ca: &str| {
        let tls = ClientTls { ca: ca.as_bytes().to_vec(), name: Some("localhost".into()) };
        let settings = ClientSettings::new(format!("https://{address}"));
        let insist = Duration::from_millis(100);
        let client = Client::new(ClientSettings { tls: Some(tls), insist, ..settings }, world.events.clone());
        let events = PushEventsRequest { events: vec![pending("odd", "app").event()] }.encode_to_vec();
        client.unwrap().deliver(&Outgoing { tag: Vec::new(), events, records: 1 }).await
    };
    deliver(running.address, &certificate).await.unwrap();
    deliver(running.address, &pem(&stranger).0).await.unwrap_err();
    // Where an authority is named, certificates are asked for.
    let guarded = tls(Some(&pem(&member).0));
    let running = world.serve_web(Web { tls: Some(guarded), ..world.vector(world.detour()) }).await;
    deliver(running.address, &certificate).await.unwrap_err();
    for (identity, is_let_in) in [(&member, true), (&stranger, false)] {
        let (chain, key) = pem(identity);
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&certificate))
            .domain_name("localhost")
            .identity(Identity::from_pem(chain, key));
        let endpoint = Channel::from_shared(format!("https://{}", running.address)).unwrap();
        let sink = Sink::over(endpoint.tls_config(config).unwrap().connect_lazy());
        assert_eq!(sink.push(vec![pending("odd", "app").event()]).await.is_ok(), is_let_in);
    }
    assert_eq!(world.arrived().len(), 2);
}
