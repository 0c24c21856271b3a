//! A real Fluent Bit on both ends: its Forward output sends to our server, our client answers to its Forward input.
//! Runs if `ODDLINE_FLUENT_BIT` names one or `fluent-bit` is on the PATH; says so loudly if neither.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use oddline_ingest::{
    Detour,
    forward::{
        client::{Client, ClientSettings},
        handshake::Security,
        server::Server,
        tls::{ClientTls, ServerTls},
    },
};
use tokio::time::Instant;

use crate::support::{World, secret};

const RECORDS: usize = 5_000;

fn fluent_bit() -> Option<PathBuf> {
    let named = std::env::var_os("ODDLINE_FLUENT_BIT").map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found =
        named.or_else(|| std::env::split_paths(&paths).map(|p| p.join("fluent-bit")).find(|p| p.is_file()));
    if found.is_none() {
        assert!(std::env::var_os("ODDLINE_FULL_RUN").is_none(), "no fluent-bit, but ODDLINE_FULL_RUN is set");
        // Past the test harness, which would keep it to itself.
        let _ = std::io::stderr()
            .write_all(b"SKIPPED: no fluent-bit on the PATH and ODDLINE_FLUENT_BIT is not set\n");
    }
    found
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How one pass is secured, in our words and in Fluent Bit's (the lines of output and input).
#[derive(Default)]
struct Secured {
    security: Option<Security>,
    tls: Option<(ServerTls, ClientTls)>,
    output: String,
    input: String,
}

async fn round_trip(program: &Path, name: &str, secured: Secured) {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).display().to_string();
    let lines = (0..RECORDS).fold(String::new(), |mut text, number| {
        writeln!(text, "{{\"log\":\"odd line {number}\",\"n\":{number}}}").unwrap();
        text
    });
    std::fs::write(at("in.log"), lines).unwrap();
    // Free until Fluent Bit takes it.
    let back = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = ClientSettings::new(back.to_string());
    settings.security = secured.security.clone();
    settings.tls = secured.tls.as_ref().map(|(_, client)| client.clone());
    let world = World::new();
    let client = Arc::new(Client::new(settings, world.events.clone()));
    let detour =
        Detour::new(world.annotator(), world.settings.mode(), secret(), client, world.events.clone());
    let mut server =
        Server::new(Arc::new(detour), world.limits.clone(), world.budget.clone(), world.events.clone());
    if let Some(security) = secured.security {
        server = server.with_security(security);
    }
    if let Some((tls, _)) = secured.tls {
        server = server.with_tls(tls);
    }
    let running = world.serve(server).await;
    let config = format!(
        "service: {{flush: 0.1, grace: 1}}\n\
         parsers:\n  - {{name: json_line, format: json}}\n\
         pipeline:\n  inputs:\n\
         \x20   - {{name: tail, path: '{}', read_from_head: true, parser: json_line, tag: oddline.pending.app}}\n\
         \x20   - {{name: forward, listen: 127.0.0.1, port: {}, threaded: on{}}}\n\
         \x20 outputs:\n\
         \x20   - {{name: forward, match: 'oddline.pending.*', host: 127.0.0.1, port: {}, require_ack_response: true, \
         retry_limit: no_limits{}}}\n\
         \x20   - {{name: file, match: app, path: '{}', file: out.jsonl, format: plain}}\n",
        at("in.log"),
        back.port(),
        secured.input,
        running.address.port(),
        secured.output,
        folder.path().display(),
    );
    std::fs::write(at("config.yaml"), config).unwrap();
    let log = std::fs::File::create(at("log")).unwrap();
    let child =
        Command::new(program).arg("-c").arg(at("config.yaml")).stdout(Stdio::null()).stderr(log).spawn();
    let _child = Running(child.unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let out = std::fs::read_to_string(at("out.jsonl")).unwrap_or_default();
        if out.ends_with('\n') && out.lines().count() >= RECORDS {
            check(name, &out);
            break;
        }
        let log = || std::fs::read_to_string(at("log")).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "{name}: {} of {RECORDS} came back\n{}",
            out.lines().count(),
            log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.shutdown.cancel();
}

fn check(name: &str, out: &str) {
    let records = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let numbers: BTreeSet<u64> = records
        .inspect(|record| {
            assert_eq!(record["anomaly"]["status"], "confirmed", "{name}: {record}");
            assert!(record["_oddline"].is_string(), "{name}: {record}");
        })
        .map(|record| record["n"].as_u64().unwrap())
        .collect();
    assert!(numbers.into_iter().eq(0..RECORDS as u64), "{name}: records are missing");
}

#[tokio::test]
async fn every_record_comes_back_from_a_real_fluent_bit() {
    let Some(program) = fluent_bit() else { return };
    round_trip(&program, "plain", Secured::default()).await;
    round_trip(&program, "gzip", Secured { output: ", compress: gzip".into(), ..Secured::default() }).await;

    let security = Security { shared_key: "key".into(), hostname: "sidecar".into(), users: Vec::new() };
    let key = ", shared_key: key, self_hostname: shipper";
    let with_key =
        Secured { security: Some(security.clone()), output: key.into(), input: key.into(), tls: None };
    round_trip(&program, "shared key", with_key).await;

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, secret_key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).display().to_string();
    std::fs::write(at("cert.pem"), &pem).unwrap();
    std::fs::write(at("key.pem"), &secret_key).unwrap();
    let server = ServerTls::new(pem.as_bytes(), secret_key.as_bytes(), None).unwrap();
    let client = ClientTls::new(pem.as_bytes(), "localhost", None).unwrap();
    let tls = Secured {
        security: Some(security),
        tls: Some((server, client)),
        output: format!(
            "{key}, tls: on, tls.verify: on, tls.ca_file: '{}', tls.vhost: localhost",
            at("cert.pem")
        ),
        input: format!(
            "{key}, tls: on, tls.verify: off, tls.crt_file: '{}', tls.key_file: '{}'",
            at("cert.pem"),
            at("key.pem")
        ),
    };
    round_trip(&program, "tls", tls).await;
}
