//! One gRPC message of a request: reads it within limits of size, time and memory, and expands it; and the answer.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, header},
};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::{
    Limits,
    budget::{Budget, Held},
    forward::{
        expand::{self, ExpandError},
        frame::Compression,
    },
};

/// What stands before a message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// From so many compressed bytes on, expanding leaves the runtime's threads.
const EXPAND_ELSEWHERE: usize = 16 << 10;
const GRPC: &str = "application/grpc";

/// A message, and its bytes in the budget.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// When all of it had come.
    pub(super) arrived: Instant,
    pub(super) held: [Held; 2],
}

/// Whether a request is gRPC at all.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|name| name.as_bytes().starts_with(GRPC.as_bytes()))
}

/// Reads the one message of a request.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
    budget: &Budget,
) -> Result<Message, Status> {
    let encoding = encoding(headers)?;
    let whole = timeout(limits.frame, receive(body, limits, budget)).await;
    let late = |_| Status::deadline_exceeded(format!("no whole message within {:?}", limits.frame));
    let (is_compressed, bytes, held) = whole.map_err(late)??;
    let arrived = Instant::now();
    let compression = match (is_compressed, encoding) {
        (false, _) => {
            let twice = budget.expansion(bytes.len()).await;
            return Ok(Message { bytes: bytes.into(), arrived, held: [held, twice] });
        }
        (true, Some(compression)) => compression,
        (true, None) => return Err(Status::internal("message is compressed but grpc-encoding is not set")),
    };
    let mut more = budget.expansion(expand::bound(bytes.len(), limits).0).await;
    let bytes = expand(compression, bytes, limits).await?;
    more.shrink(bytes.len());
    Ok(Message { bytes, arrived, held: [held, more] })
}

fn encoding(headers: &HeaderMap) -> Result<Option<Compression>, Status> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(Compression::Gzip)),
        Some(b"zstd") => Ok(Some(Compression::Zstd)),
        Some(_) => {
            let mut status = Status::unimplemented("grpc-encoding is not supported; supported: gzip, zstd");
            let accepted = "gzip,zstd".parse().expect("is ASCII");
            status.metadata_mut().insert("grpc-accept-encoding", accepted);
            Err(status)
        }
    }
}

async fn receive(mut body: Body, limits: &Limits, budget: &Budget) -> Result<(bool, Bytes, Held), Status> {
    let mut read = BytesMut::new();
    more(&mut body, &mut read, HEAD).await?;
    let is_compressed = match read.get_u8() {
        0 => false,
        1 => true,
        flag => return Err(Status::internal(format!("compression flag of the message is {flag}"))),
    };
    let length = read.get_u32() as usize;
    if length > limits.frame_bytes {
        // A code that the sink retries: it would throw the events away at any other.
        return Err(Status::resource_exhausted(format!(
            "message has {length} bytes, the limit is {} (frame_bytes): set batch.max_bytes of the sink below it",
            limits.frame_bytes
        )));
    }
    // While there is no room the message stays where it is: HTTP/2 holds its sender.
    let held = budget.frame(length).await;
    more(&mut body, &mut read, length).await?;
    let bytes = read.split_to(length).freeze();
    let mut beyond = read.len();
    while beyond == 0 {
        let Some(frame) = next(&mut body).await? else { return Ok((is_compressed, bytes, held)) };
        beyond = frame.len();
    }
    Err(Status::internal("request has more than one message"))
}

/// Reads until there are so many bytes.
async fn more(body: &mut Body, read: &mut BytesMut, wanted: usize) -> Result<(), Status> {
    while read.len() < wanted {
        let frame = next(body).await?;
        let cut = || Status::internal(format!("message is cut short, {wanted} bytes were announced"));
        read.extend_from_slice(&frame.ok_or_else(cut)?);
    }
    Ok(())
}

/// The next data; trailers are none.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Status> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(format!("request is broken: {error}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn expand(compression: Compression, bytes: Bytes, limits: &Limits) -> Result<Vec<u8>, Status> {
    let outcome = if bytes.len() < EXPAND_ELSEWHERE {
        expand::expand(compression, &bytes, limits)
    } else {
        let limits = limits.clone();
        let work = tokio::task::spawn_blocking(move || expand::expand(compression, &bytes, &limits));
        work.await.map_err(|error| Status::internal(error.to_string()))?
    };
    outcome.map_err(|error| match error {
        ExpandError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        ExpandError::Invalid(_) => Status::internal(error.to_string()),
    })
}

/// An empty message, and that all is well.
pub(super) fn ok() -> Response<Body> {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("is a name"), HeaderValue::from(0))]);
    let body = Full::new(Bytes::from_static(&[0; HEAD])).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}
