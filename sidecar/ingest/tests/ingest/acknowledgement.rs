//! Acknowledged means delivered: not before, not without, not twice; and a resend loses nothing.

use oddline_codec::msgpack;

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

#[tokio::test]
async fn a_sender_that_asks_for_no_acknowledgement_gets_none_and_its_loss_is_counted() {
    let world = World::new();
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    let events = event(&pending("odd", 1, &world.settings));
    let bare = [b"\x92\xb3oddline.pending.app\x91", events.as_slice()].concat();
    sender.send(&bare).await;
    sender.send(&frame(&world, 2, "b")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("b"));
    assert_eq!(returned(&world), 2);
    *world.back.failures.lock().unwrap() = 1;
    sender.send(&bare).await;
    assert_eq!(sender.ack().await, None);
    assert_eq!(world.events.frames_discarded.get(), 1);
}

#[tokio::test]
async fn a_resend_after_a_lost_acknowledgement_is_not_delivered_again() {
    let world = World::new();
    let running = world.serve(world.server()).await;
    let mut sender = running.sender().await;
    sender.send(&frame(&world, 1, "a")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("a"));
    let mut again = running.sender().await;
    again.send(&frame(&world, 1, "a")).await;
    assert_eq!(again.ack().await.as_deref(), Some("a"));
    assert_eq!((returned(&world), world.events.duplicates.get()), (1, 1));
    // The same payload on the connection that has read the acknowledgement is new data.
    sender.send(&frame(&world, 1, "a")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("a"));
    assert_eq!(returned(&world), 2);
}

#[tokio::test]
async fn a_resend_while_the_first_is_on_its_way_shares_the_answer() {
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
    world.back.gate.add_permits(1);
    assert_eq!(first.ack().await.as_deref(), Some("a"));
    assert_eq!(second.ack().await.as_deref(), Some("a"));
    assert_eq!((returned(&world), world.events.duplicates.get()), (1, 1));
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
