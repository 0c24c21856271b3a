//! Takes Forward records, confirms every pending one without looking at it, and gives them back: the smallest program
//! with which a real shipper's Forward output and return input can be tried against this crate.
//!
//! `relay LISTEN RETURN [SHARED_KEY [CERTIFICATE_PEM KEY_PEM]]`; the return input is spoken to in plain Forward, or with
//! the same key and certificate if they are given. Ctrl-C drains and prints the counters.
#![expect(clippy::print_stdout, reason = "an example reports to its terminal")]

use std::{error::Error, future::Future, pin::Pin, sync::Arc};

use oddline_analyze::ports::{Analysis, Received};
use oddline_codec::{TagStyle, marker::Secret};
use oddline_engine::{Mode, Picker, Record, Settings, Status, Summary, Verdict, rules::RuleSet};
use oddline_ingest::{
    Annotator, Budget, Detour, Events, Limits, Screening,
    forward::{
        client::{Client, ClientSettings},
        handshake::Security,
        server::Server,
        tls::{ClientTls, ServerTls},
    },
};
use tokio_util::sync::CancellationToken;

/// Confirms everything.
struct Confirm;

impl Analysis for Confirm {
    fn judge(&self, records: Vec<Received>) -> Pin<Box<dyn Future<Output = Vec<Verdict>> + Send + '_>> {
        let confirm = |received: Received| Verdict { status: Some(Status::Confirmed), ..received.local };
        let verdicts = records.into_iter().map(confirm).collect();
        Box::pin(async { verdicts })
    }

    fn screen(&self, record: &Record<'_>) -> Verdict {
        let template = String::from_utf8_lossy(&record.message).into();
        Verdict { status: Some(Status::Pending), template: Some(template), ..Verdict::default() }
    }

    fn summary(&self, summary: Summary) {
        println!("summary: {:?}", summary.counters);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, back, rest @ ..] = arguments.as_slice() else {
        return Err("usage: relay LISTEN RETURN [SHARED_KEY [CERTIFICATE_PEM KEY_PEM]]".into());
    };
    let events = Arc::new(Events::default());
    let mut client = ClientSettings::new(back);
    let security = rest.first().map(|key| Security {
        shared_key: key.clone(),
        hostname: "relay".to_owned(),
        users: Vec::new(),
    });
    client.security = security.clone();
    let mut server_tls = None;
    if let [_, certificate, key] = rest {
        let (certificate, key) = (std::fs::read(certificate)?, std::fs::read(key)?);
        server_tls = Some(ServerTls::new(&certificate, &key, None)?);
        client.tls = Some(ClientTls::new(&certificate, "localhost", None)?);
    }
    let settings = Settings::default();
    let annotator = Annotator {
        analysis: Arc::new(Confirm),
        style: TagStyle::of(&settings),
        screening: Screening::new(Arc::new(Picker::new(&settings, &RuleSet::default())), "relay".into()),
    };
    let deliver = Arc::new(Client::new(client, events.clone()));
    let secret = Secret::parse(Secret::file(&[0; 32]).as_bytes())?;
    let detour = Arc::new(Detour::new(annotator, Mode::Divert, secret, deliver, events.clone()));
    let limits = Limits::default();
    let budget = Budget::new(limits.in_flight_bytes);
    let mut server = Server::new(detour, limits, budget, events.clone());
    if let Some(security) = security {
        server = server.with_security(security);
    }
    if let Some(tls) = server_tls {
        server = server.with_tls(tls);
    }
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    server.run(tokio::net::TcpListener::bind(listen).await?, shutdown).await;
    for (name, _, value) in events.all().into_iter().filter(|(_, _, value)| *value > 0) {
        println!("{name} {value}");
    }
    Ok(())
}
