//! The contract of a `RowTable`: what is written arrives whole, another connection has another number, and whoever is
//! away, refuses or hangs is named. And of a `CountSource`, which is the same server's other side.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    http::StatusCode,
    routing::{get, post},
};
use oddline_analyze::ports::{CountSource, FailureKind, RowTable, Total};
use oddline_backends::{vector_counts::VectorCounts, vector_table::VectorTable};
use oddline_engine::TemplateId;
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

#[tokio::test]
async fn counters_are_read_and_a_page_without_end_is_refused() {
    let page = "# TYPE oddline_template_records counter\n\
        oddline_template_records{source=\"app\",template_id=\"00000000000000ff\"} 3 1795251482274\n\
        up 1\n";
    let line = page.lines().nth(1).unwrap().to_owned() + "\n";
    let pages =
        [page.to_owned(), line.repeat((16 << 20) / line.len()), line.repeat((160 << 20) / line.len())];
    let page = |number: usize| {
        let page = pages[number].clone();
        move || async move { page }
    };
    let router = Router::new().route("/0", get(page(0))).route("/1", get(page(1))).route("/2", get(page(2)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let counts = |number: usize| VectorCounts::new(&format!("http://{address}/{number}")).unwrap();
    let totals = counts(0).totals().await.unwrap();
    let app = Total { id: TemplateId(255), source: "app".into(), rule_hit: false, records: 3 };
    assert_eq!(totals, [app]);
    assert_eq!(counts(1).totals().await.unwrap().len(), (16 << 20) / line.len());
    assert_failure(counts(2).totals().await, FailureKind::Bug, &["over the limit of 16777216 bytes"]);
    assert_failure(counts(3).totals().await, FailureKind::Rejected, &["status 404"]);
}

#[test]
fn addresses_are_checked() {
    assert_failure(VectorCounts::new("h:1"), FailureKind::Rejected, &["http://"]);
    assert_failure(VectorTable::new("h:1"), FailureKind::Rejected, &["http://"]);
    assert_failure(VectorTable::new("http://u:secret@h/"), FailureKind::Rejected, &["user or password"]);
}
