//! Connections: who may come, how much, how long; and how they end at shutdown.

use std::{sync::Arc, time::Duration};

use oddline_ingest::{
    Deliver, Limits, Outgoing,
    forward::{
        client::{Client, ClientSettings},
        handshake::{Security, User},
        tls::{ClientTls, ServerTls},
    },
};

use crate::support::{Running, World, event, packed, pending};

fn security(key: &str, users: &[(&str, &str)]) -> Security {
    let user = |(name, password): &(&str, &str)| User { name: (*name).into(), password: (*password).into() };
    Security { shared_key: key.into(), hostname: "test".into(), users: users.iter().map(user).collect() }
}

/// The same with another name: a client believes no server that has its own.
fn server(key: &str, users: &[(&str, &str)]) -> Security {
    Security { hostname: "server".into(), ..security(key, users) }
}

/// Our own client as the sender; what it says of the outcome.
async fn send(world: &World, running: &Running, settings: impl FnOnce(&mut ClientSettings)) -> String {
    let mut made = ClientSettings::new(running.address.to_string());
    made.timeout = Duration::from_millis(500);
    settings(&mut made);
    let outgoing = Outgoing {
        tag: b"oddline.pending.app".to_vec(),
        events: event(&pending("odd", 1, &world.settings)),
        records: 1,
    };
    let client = Client::new(made, Arc::default());
    client.deliver(&outgoing).await.map_or_else(|error| error.reason, |()| "delivered".to_owned())
}

#[tokio::test]
async fn shared_key_and_users_right_and_wrong() {
    let world = World::new();
    let alice = &[("alice", "wonder")][..];
    let running = world.serve(world.server().with_security(server("key", alice))).await;
    let with = |key: &'static str, users: &'static [(&str, &str)]| {
        send(&world, &running, move |settings| settings.security = Some(security(key, users)))
    };
    assert_eq!(with("key", &[("alice", "wonder")]).await, "delivered");
    assert_eq!(
        with("wrong", &[("alice", "wonder")]).await,
        "handshake: refused by the server: shared_key mismatch"
    );
    let refused = "handshake: refused by the server: username/password mismatch";
    assert_eq!(with("key", &[("alice", "guess")]).await, refused);
    assert_eq!(with("key", &[]).await, refused);
    assert_eq!(world.back.arrived.lock().unwrap().len(), 1);
    // A sender that skips the handshake is not listened to.
    let mut bare = running.sender().await;
    bare.send(&packed("oddline.pending.app", &event(&pending("odd", 2, &world.settings)), "a")).await;
    let mut helo = [0; 512];
    tokio::io::AsyncReadExt::read(&mut bare.0, &mut helo).await.unwrap();
    assert_eq!(bare.ack().await, None);
    assert_eq!(world.back.arrived.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn tls_with_and_without_client_certificate() {
    let ours = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, key) = (ours.cert.pem(), ours.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let (pem, key, other) = (pem.as_bytes(), key.as_bytes(), other.as_bytes());
    let world = World::new();
    for client_ca in [None, Some(pem)] {
        let tls = ServerTls::new(pem, key, client_ca).unwrap();
        let running = world.serve(world.server().with_tls(tls).with_security(server("key", &[]))).await;
        let with = |ca: &[u8], own: Option<(&[u8], &[u8])>| {
            let tls = ClientTls::new(ca, "localhost", own).unwrap();
            send(&world, &running, move |settings| {
                settings.tls = Some(tls);
                settings.security = Some(security("key", &[]));
            })
        };
        assert_eq!(with(pem, Some((pem, key))).await, "delivered");
        let anonymous = with(pem, None).await;
        assert_eq!(anonymous == "delivered", client_ca.is_none(), "{anonymous}");
        let distrusted = with(other, Some((pem, key))).await;
        assert!(distrusted.starts_with("cannot connect: invalid peer certificate"), "{distrusted}");
        let plain = send(&world, &running, |settings| settings.security = Some(security("key", &[]))).await;
        assert_ne!(plain, "delivered");
    }
}

#[tokio::test]
async fn frames_at_the_limit_one_over_and_ten_times() {
    let mut world = World::new();
    world.limits = Limits { frame_bytes: 64 << 10, ..Limits::default() };
    let running = world.serve(world.server()).await;
    let frame = |bytes: usize| {
        let filler = |length: usize| {
            let events = event(&pending(&"o".repeat(length), 1, &world.settings));
            packed("oddline.pending.app", &events, &length.to_string())
        };
        // The message stands in the record and in its template.
        let guess = (bytes - 1_000) / 2;
        let missing = bytes - filler(guess).len();
        let mut out = filler(guess + missing / 2);
        if out.len() < bytes {
            let events =
                [event(&pending(&"o".repeat(guess + missing / 2), 1, &world.settings)), b"\xc0".to_vec()]
                    .concat();
            out = packed("oddline.pending.app", &events, &(guess + missing / 2).to_string());
        }
        assert_eq!(out.len(), bytes);
        out
    };
    for (bytes, fits) in [(64 << 10, true), ((64 << 10) + 1, false), (640 << 10, false)] {
        let mut sender = running.sender().await;
        // The server may close while we still write.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut sender.0, &frame(bytes)).await;
        assert_eq!(sender.ack().await.is_some(), fits, "{bytes}");
    }
    assert_eq!(world.budget.free(), world.limits.in_flight_bytes);
}

#[tokio::test]
async fn garbage_closes_the_connection_and_nothing_else() {
    let world = World::new();
    let running = world.serve(world.server()).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xc1", b"\x93\x01\x02\x03", b"\xdd\xff\xff\xff\xff", b"\x91\xa1a"]
    {
        let mut sender = running.sender().await;
        sender.send(garbage).await;
        assert_eq!(sender.ack().await, None, "{garbage:x?}");
    }
    assert_eq!(world.events.connections_failed.get(), 5);
    assert_eq!(send(&world, &running, |_| {}).await, "delivered");
}

#[tokio::test]
async fn a_client_that_never_answers_the_handshake_is_cut_off() {
    let mut world = World::new();
    world.limits.handshake = Duration::from_millis(50);
    let running = world.serve(world.server().with_security(server("key", &[]))).await;
    let mut silent = running.sender().await;
    tokio::io::AsyncReadExt::read(&mut silent.0, &mut [0; 512]).await.unwrap();
    assert_eq!(silent.ack().await, None);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let mut world = World::new();
    world.limits.connections = 1;
    world.close_gate();
    let running = world.serve(world.server()).await;
    let (mut first, mut second) = (running.sender().await, running.sender().await);
    let frame = |chunk| packed("oddline.pending.app", &event(&pending("odd", 1, &world.settings)), chunk);
    first.send(&frame("a")).await;
    second.send(&frame("b")).await;
    world.back.entered().await;
    world.back.gate.add_permits(2);
    assert_eq!(first.ack().await.as_deref(), Some("a"));
    assert_eq!(world.events.connections.get(), 1);
    drop(first);
    assert_eq!(second.ack().await.as_deref(), Some("b"));
}

#[tokio::test]
async fn drain_finishes_what_is_in_hand() {
    let world = World::new();
    world.close_gate();
    let running = world.serve(world.server()).await;
    let (mut busy, mut idle) = (running.sender().await, running.sender().await);
    busy.send(&packed("oddline.pending.app", &event(&pending("odd", 1, &world.settings)), "a")).await;
    world.back.entered().await;
    running.shutdown.cancel();
    assert_eq!(idle.ack().await, None, "an idle connection is closed at once");
    world.back.gate.add_permits(1);
    assert_eq!(busy.ack().await.as_deref(), Some("a"));
    running.task.await.unwrap();
    tokio::net::TcpStream::connect(running.address).await.unwrap_err();
}

#[tokio::test]
async fn the_drain_deadline_cuts_what_does_not_end_and_acknowledges_nothing() {
    let mut world = World::new();
    world.limits.drain = Duration::from_millis(20);
    world.close_gate();
    let running = world.serve(world.server()).await;
    let mut busy = running.sender().await;
    busy.send(&packed("oddline.pending.app", &event(&pending("odd", 1, &world.settings)), "a")).await;
    world.back.entered().await;
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert_eq!(busy.ack().await, None);
}
