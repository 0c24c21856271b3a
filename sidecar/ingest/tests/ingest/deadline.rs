//! However many records a batch has, it is judged within one deadline, counted from its arrival, on every way in.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::Extension,
    http::Request,
};
use oddline_codec::msgpack;
use oddline_ingest::{
    http::{detour, router},
    web::Peer,
};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::{
    support::{World, event, packed, pending},
    vector_world::{Sink, pending as pending_log},
};

const DEADLINE: Duration = Duration::from_secs(2);
/// Records that are judged together.
const GROUP: u16 = 256;

fn chunk(world: &World, records: u16) -> Vec<u8> {
    (0..records)
        .flat_map(|number| event(&pending(&format!("odd {number}"), number, &world.settings)))
        .collect()
}

fn lines(records: u16) -> String {
    (0..records).map(|number| format!("{{\"log\":\"odd {number}\"}}\n")).collect()
}

fn ask(path: &str, records: u16) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/x-ndjson");
    request.body(Body::from(lines(records))).unwrap()
}

impl World {
    /// All of the batch came at once, whatever group a record was judged in.
    fn check_one_arrival(&self, records: u16) {
        let mut judged = self.judge.judged.lock().unwrap();
        assert_eq!(judged.len(), usize::from(records));
        assert!(judged.iter().all(|record| record.arrived == judged[0].arrived), "another clock for a group");
        judged.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_one_deadline_with_one_group_one_over_and_ten_times() {
    for records in [GROUP, GROUP + 1, 10 * GROUP] {
        let world = World::new();
        *world.judge.late.lock().unwrap() = DEADLINE;
        let started = Instant::now();
        world.detour().carry(b"oddline.pending.app", &chunk(&world, records), started).await.unwrap();
        assert_eq!(started.elapsed(), DEADLINE, "{records} records to the detour");
        assert_eq!(msgpack::events(&world.back.events("app")).count(), usize::from(records));
        world.check_one_arrival(records);

        let started = Instant::now();
        let response = router(world.http()).oneshot(ask("/v1/records", records)).await.unwrap();
        let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
        assert_eq!(started.elapsed(), DEADLINE, "{records} records over HTTP");
        assert_eq!(body.split(|byte| *byte == b'\n').count(), usize::from(records) + 1);
        world.check_one_arrival(records);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_delivered_again_is_not_waited_for_again() {
    let world = World::new();
    *world.judge.late.lock().unwrap() = DEADLINE;
    let (arrived, chunk) = (Instant::now(), chunk(&world, GROUP + 1));
    *world.back.failures.lock().unwrap() = 1;
    world.detour().carry(b"oddline.pending.app", &chunk, arrived).await.unwrap_err();
    world.detour().carry(b"oddline.pending.app", &chunk, arrived).await.unwrap();
    assert_eq!(arrived.elapsed(), DEADLINE);
}

#[tokio::test]
async fn every_way_in_gives_a_batch_one_arrival() {
    let world = World::new();
    let records = GROUP + 1;

    let forward = world.serve(world.server()).await;
    let mut sender = forward.sender().await;
    sender.send(&packed("oddline.pending.app", &chunk(&world, records), "c")).await;
    assert_eq!(sender.ack().await.as_deref(), Some("c"));
    world.check_one_arrival(records);

    let vector = world.serve_vector().await;
    let logs = (0..records).map(|number| pending_log(&format!("odd {number}"), "app").event());
    Sink::connect(vector.address).await.push(logs.collect()).await.unwrap();
    world.check_one_arrival(records);

    let (limits, budget) = (world.limits.clone(), world.budget.clone());
    let service = detour::Service::new(world.detour().into(), limits, budget, world.events.clone());
    let service = service.router().layer(Extension(Peer([127, 0, 0, 1].into())));
    assert!(service.oneshot(ask("/v1/detour", records)).await.unwrap().status().is_success());
    world.check_one_arrival(records);
}
