//! Acknowledged means delivered: not before, not without, not twice; and a resend loses nothing.

use oddline_codec::msgpack;

use std::time::Duration;

use oddline_ingest::Limits;

use crate::support::{World, event, packed, pending};

fn frame(world: &World, number: u16, chunk: &str) -> Vec<u8> {
    packed("oddline.pending.app", &event(&pending("odd", number, &world.settings)), chunk)
}

fn returned(world: &World) -> usize {
    msgpack::events(&world.back.events("app")).count()
}

#[tokio::test]
async fn no_acknowledgement_before_the_return_input_has_acknowledged() {
    let world = World::new();
    world.close_gate();
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    sender.send(&frame(&world, 1, "a")).await;
    world.back.entered().await;
    let error = sender.0.try_read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "acknowledged too early");
    world.back.gate.add_permits(1);
    assert_eq!(sender.ack().await.as_deref(), Some("a"));
    // The connection is kept.
    world.back.gate.add_permits(1);
    sender.send(&frame(&world, 2, "b")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("b"));
    assert_eq!(world.events.connections.get(), 1);
}

#[tokio::test]
async fn a_failed_delivery_closes_and_the_resend_arrives() {
    let world = World::new();
    *world.back.failures.lock().unwrap() = 2;
    let running = world.serve(world.server()).await;
    for expected in [None, None, Some("a")] {
        let mut sender = running.sender().await;
        sender.send(&frame(&world, 1, "a")).await;
        assert_eq!(sender.ack().await.as_deref(), expected);
    }
    assert_eq!(returned(&world), 1);
    assert_eq!((world.events.connections_failed.get(), world.events.duplicates.get()), (2, 0));
    assert_eq!(world.budget.free(), world.limits.in_flight_bytes, "bytes are still taken");
}

/// A frame whose sender asks for no acknowledgement.
fn bare(world: &World, number: u16) -> Vec<u8> {
    let events = event(&pending("odd", number, &world.settings));
    [b"\x92\xb3oddline.pending.app\x91", events.as_slice()].concat()
}

#[tokio::test]
async fn a_frame_that_nobody_will_resend_is_tried_until_it_arrives() {
    let world = World::new();
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    *world.back.failures.lock().unwrap() = 3;
    sender.send(&bare(&world, 1)).await;
    sender.send(&frame(&world, 2, "b")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("b"), "what follows on the connection waits for it");
    assert_eq!((returned(&world), world.events.frames_discarded.get()), (2, 0));
}

#[tokio::test]
async fn and_is_given_up_and_counted_when_its_time_is_over() {
    let mut world = World::new();
    world.limits = Limits { insist: Duration::from_millis(250), ..Limits::default() };
    *world.back.failures.lock().unwrap() = usize::MAX;
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    sender.send(&bare(&world, 1)).await;
    assert_eq!(sender.ack().await, None);
    assert_eq!((returned(&world), world.events.frames_discarded.get()), (0, 1));
}

#[tokio::test]
async fn equal_payloads_that_were_acknowledged_are_all_delivered_whichever_way_they_come() {
    let world = World::new();
    let running = world.serve(world.server()).await;
    let (mut one, mut other) = (running.sender().await, running.sender().await);
    for _ in 0..2 {
        for sender in [&mut one, &mut other] {
            sender.send(&frame(&world, 1, "a")).await;
            assert_eq!(sender.ack().await.as_deref(), Some("a"));
        }
    }
    assert_eq!((returned(&world), world.events.duplicates.get()), (4, 0));
}

#[tokio::test]
async fn a_resend_of_what_was_delivered_while_its_sender_was_gone_is_not_delivered_again() {
    let world = World::new();
    world.close_gate();
    let running = world.serve(world.server()).await;
    let mut first = running.sender().await;
    first.send(&frame(&world, 1, "a")).await;
    world.back.entered().await;
    // Its connection breaks while the chunk is on its way; the resend comes before it has arrived.
    drop(first);
    let mut second = running.sender().await;
    second.send(&frame(&world, 1, "a")).await;
    while world.events.frames_received.get() < 2 {
        tokio::task::yield_now().await;
    }
    world.back.gate.add_permits(1);
    assert_eq!(second.ack().await.as_deref(), Some("a"));
    assert_eq!((returned(&world), world.events.duplicates.get()), (1, 1));
    // That was the resend; the next one is new data.
    world.back.gate.add_permits(1);
    second.send(&frame(&world, 1, "a")).await;
    assert_eq!(second.ack().await.as_deref(), Some("a"));
    assert_eq!((returned(&world), world.events.duplicates.get()), (2, 1));
}

#[tokio::test]
async fn equal_payloads_on_their_way_at_once_are_both_delivered() {
    let world = World::new();
    world.close_gate();
    let running = world.serve(world.server()).await;
    let (mut first, mut second) = (running.sender().await, running.sender().await);
    first.send(&frame(&world, 1, "a")).await;
    world.back.entered().await;
    second.send(&frame(&world, 1, "a")).await;
    while world.events.frames_received.get() < 2 {
        tokio::task::yield_now().await;
    }
    world.back.gate.add_permits(2);
    assert_eq!(first.ack().await.as_deref(), Some("a"));
    assert_eq!(second.ack().await.as_deref(), Some("a"));
    assert_eq!((returned(&world), world.events.duplicates.get()), (2, 0));
}

#[tokio::test]
async fn a_sidecar_that_dies_with_records_in_hand_loses_none() {
    let world = World::new();
    world.close_gate();
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    sender.send(&frame(&world, 1, "a")).await;
    world.back.entered().await;
    running.task.abort();
    assert_eq!(sender.ack().await, None);
    // Another sidecar, which knows nothing of the first.
    world.back.gate.add_permits(1);
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    sender.send(&frame(&world, 1, "a")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("a"));
    assert_eq!(returned(&world), 1);
}
