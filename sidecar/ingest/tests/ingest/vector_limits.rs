//! Bad requests over gRPC, each with its limit: what cannot be taken is refused with a code at which a sink keeps its events.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::{BodyExt, channel::Channel as BodyChannel};
use oddline_ingest::{Limits, vector::server::Service, web::Peer};
use prost::Message;
use tonic::Code;
use tower::ServiceExt;

use crate::{
    support::World,
    vector_event::PushEventsRequest,
    vector_world::{PUSH, pending},
};

const GRPC: (&str, &str) = ("content-type", "application/grpc");

async fn ask(world: &World, headers: &[(&str, &str)], body: Body) -> (StatusCode, HeaderMap) {
    let service = Service::new(
        Arc::new(world.detour()),
        world.limits.clone(),
        world.budget.clone(),
        world.events.clone(),
    );
    let router = service.router().layer(Extension(Peer(IpAddr::V4(Ipv4Addr::LOCALHOST))));
    let mut request = Request::post(PUSH);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let mut all = parts.headers;
    let collected = body.collect().await.unwrap();
    all.extend(collected.trailers().cloned().unwrap_or_default());
    (parts.status, all)
}

/// Code and text of the answer.
async fn push(world: &World, headers: &[(&str, &str)], body: impl Into<Body>) -> (Code, String) {
    let (status, headers) = ask(world, headers, body.into()).await;
    assert_eq!(status, StatusCode::OK);
    let status = tonic::Status::from_header_map(&headers).unwrap();
    (status.code(), status.message().to_owned())
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// A request of about so many bytes.
fn request(bytes: usize) -> Vec<u8> {
    // The message stands in it twice.
    PushEventsRequest { events: vec![pending(&"x".repeat(bytes / 2), "app").event()] }.encode_to_vec()
}

#[tokio::test]
async fn messages_at_the_limit_one_over_and_ten_times() {
    let mut world = World::new();
    let fits = request(4_000);
    world.limits = Limits { frame_bytes: fits.len(), ..Limits::default() };
    assert_eq!(push(&world, &[GRPC], framed(0, &fits)).await, (Code::Ok, String::new()));
    for bytes in [fits.len() + 1, 10 * fits.len()] {
        let (code, told) = push(&world, &[GRPC], framed(0, &vec![0; bytes])).await;
        assert_eq!(code, Code::ResourceExhausted, "a code at which the sink drops its events");
        let limit = fits.len();
        assert_eq!(
            told,
            format!(
                "message has {bytes} bytes, the limit is {limit} (frame_bytes): set batch.max_bytes of the sink below it"
            )
        );
    }
    // A length that lies is not believed, and no memory is taken for it.
    let (code, _) = push(&world, &[GRPC], b"\0\xff\xff\xff\xff".to_vec()).await;
    assert_eq!((code, world.events.vector_refused.get()), (Code::ResourceExhausted, 3));
}

#[tokio::test]
async fn compressed_messages_are_read_and_bombs_are_refused() {
    let mut world = World::new();
    world.limits = Limits { expanded_bytes: 100_000, ..Limits::default() };
    let gzip = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, data).unwrap();
        encoder.finish().unwrap()
    };
    let message = request(20_000);
    for (encoding, packed, bomb) in [
        ("gzip", gzip(&message), gzip(&vec![0; 1_000_001])),
        ("zstd", zstd::encode_all(&*message, 3).unwrap(), zstd::encode_all(&*vec![0; 1_000_001], 3).unwrap()),
    ] {
        let headers = [GRPC, ("grpc-encoding", encoding)];
        assert_eq!(push(&world, &headers, framed(1, &packed)).await.0, Code::Ok, "{encoding}");
        // Not every message of a sink that compresses has to be.
        assert_eq!(push(&world, &headers, framed(0, &message)).await.0, Code::Ok);
        let (code, told) = push(&world, &headers, framed(1, &bomb)).await;
        assert_eq!(code, Code::ResourceExhausted);
        assert!(told.contains("expan"), "{told}");
        assert_eq!(push(&world, &headers, framed(1, b"no such thing")).await.0, Code::Internal);
    }
    let (code, told) = push(&world, &[GRPC, ("grpc-encoding", "snappy")], framed(1, b"x")).await;
    assert_eq!(
        (code, &*told),
        (Code::Unimplemented, "grpc-encoding is not supported; supported: gzip, zstd")
    );
    assert_eq!(push(&world, &[GRPC], framed(1, b"x")).await.0, Code::Internal);
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_by_name() {
    let world = World::new();
    let (status, _) = ask(&world, &[("content-type", "application/json")], Body::from("[]")).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let good = framed(0, &request(2_000));
    for (body, told) in [
        (good[..good.len() - 1].to_vec(), "message is cut short"),
        (good[..3].to_vec(), "message is cut short, 5 bytes were announced"),
        (vec![], "message is cut short"),
        ([&good[..], b"\0"].concat(), "request has more than one message"),
        ([&good[..], &good].concat(), "request has more than one message"),
        (b"\x07\0\0\0\0".to_vec(), "compression flag of the message is 7"),
    ] {
        let (code, text) = push(&world, &[GRPC], body).await;
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with(told), "{text}");
    }
    assert!(world.back.arrived.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_dribbles_is_cut_off_and_one_without_room_told_so() {
    let world = World::new();
    let (mut sender, body) = BodyChannel::<Bytes>::new(1);
    sender.send_data(Bytes::from_static(b"\0\0\0\x40\0half")).await.unwrap();
    let (code, told) = push(&world, &[GRPC], Body::new(body)).await;
    assert_eq!((code, &*told), (Code::DeadlineExceeded, "no whole message within 30s"));
    drop(sender);
    assert_eq!(world.budget.free(), Limits::default().in_flight_bytes);
    // The budget is used up by others: the message waits, and is not read meanwhile.
    let _all = world.budget.frame(usize::MAX).await;
    let waiting = push(&world, &[GRPC], framed(0, &request(2_000)));
    let (code, _) = tokio::time::timeout(Duration::from_secs(31), waiting).await.unwrap();
    assert_eq!(code, Code::DeadlineExceeded);
    assert!(world.back.arrived.lock().unwrap().is_empty());
}
