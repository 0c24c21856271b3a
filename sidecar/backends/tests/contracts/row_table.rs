//! The contract of a `RowTable`: what is written arrives whole, another connection has another number, and whoever is
//! away, refuses or hangs is named.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use oddline_analyze::ports::{FailureKind, RowTable};
use oddline_backends::vector_table::VectorTable;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::assert_failure;

#[derive(Clone, Default)]
struct Source {
    bodies: Arc<Mutex<Vec<(String, Bytes)>>>,
    status: Arc<Mutex<StatusCode>>,
}

async fn take(State(source): State<Source>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = *source.status.lock().unwrap();
    if status == StatusCode::CONTINUE {
        std::future::pending::<()>().await;
    }
    let kind = headers["content-type"].to_str().unwrap().to_owned();
    source.bodies.lock().unwrap().push((kind, body));
    status
}

async fn serve(source: &Source, address: &str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/rows", post(take)).with_state(source.clone());
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

#[tokio::test]
async fn rows_arrive_over_one_connection_until_there_is_another() {
    let source = Source::default();
    let (address, serving) = serve(&source, "127.0.0.1:0").await;
    let table = VectorTable::new(&format!("http://{address}/rows")).unwrap();
    let first = table.write(b"{}".to_vec()).await.unwrap();
    assert_eq!(table.write(b"{}".to_vec()).await.unwrap(), first);
    let large = vec![b' '; 1 << 20];
    assert_eq!(table.write(large.clone()).await.unwrap(), first);
    let bodies = source.bodies.lock().unwrap().clone();
    assert_eq!(bodies.iter().map(|(_, body)| body.len()).collect::<Vec<_>>(), [2, 2, 1 << 20]);
    assert!(bodies.iter().all(|(kind, _)| kind == "application/json"));

    let other = VectorTable::new(&format!("http://{address}/rows")).unwrap();
    assert_ne!(other.write(b"{}".to_vec()).await.unwrap(), first);
    serving.abort();
}

#[tokio::test]
async fn away_refusing_and_hung_are_told_apart() {
    let source = Source::default();
    let (address, _serving) = serve(&source, "127.0.0.1:0").await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = VectorTable::new(&format!("http://{nobody}/")).unwrap();
    assert_failure(away.write(Vec::new()).await, FailureKind::Unavailable, &["vector table", "refused"]);

    let table = VectorTable::new(&format!("http://{address}/rows")).unwrap();
    *source.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    assert_failure(table.write(Vec::new()).await, FailureKind::Unavailable, &["status 503"]);
    *source.status.lock().unwrap() = StatusCode::PAYLOAD_TOO_LARGE;
    assert_failure(table.write(Vec::new()).await, FailureKind::Rejected, &["status 413"]);
    let elsewhere = VectorTable::new(&format!("http://{address}/row")).unwrap();
    assert_failure(elsewhere.write(Vec::new()).await, FailureKind::Rejected, &["status 404"]);

    *source.status.lock().unwrap() = StatusCode::CONTINUE;
    let asked = tokio::time::timeout(Duration::from_secs(60), table.write(Vec::new())).await.unwrap();
    assert_failure(asked, FailureKind::Unavailable, &["no answer within 2s"]);
}

#[test]
fn addresses_are_checked() {
    assert_failure(VectorTable::new("h:1"), FailureKind::Rejected, &["http://"]);
    assert_failure(VectorTable::new("http://u:secret@h/"), FailureKind::Rejected, &["user or password"]);
}
