//! A template that generalises in the plugin keeps the sidecar's advice: over plugin, summary, sidecar, advice file and
//! plugin again; for the node that saw it, for one that knows the old name only, and for one that knows neither.

#[path = "sidecar/shipper.rs"]
#[expect(dead_code, reason = "shared with `sidecar.rs`, which uses the rest")]
mod shipper;

use std::time::{SystemTime, UNIX_EPOCH};

use oddline::{
    App,
    config::{Config, Sources},
};
use oddline_codec::summary_record;
use oddline_engine::{Advice, Options, Settings, TemplateId, UnixNanos};
use oddline_ingest::Outgoing;
use oddline_shell::{Json, Outcome, Plugin, Watch};
use shipper::{ReturnInput, eventually, output, send};
use tokio_util::sync::CancellationToken;

/// What an operator has declared harmless, and what it becomes when other words stand in its place.
const NARROW: &str = "the alpha subsystem is out of order again";
const GENERAL: &str = "the <*> subsystem is out of order again";

/// A node: its plugin and the files that it looks at.
struct Node {
    plugin: Plugin,
    watch: Watch,
}

fn now() -> UnixNanos {
    UnixNanos(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap())
}

impl Node {
    fn new(name: &str, advice_dir: &std::path::Path) -> Node {
        let options = Options {
            advice_dir: Some(advice_dir.display().to_string()),
            warmup_records: Some(0),
            warmup_seconds: Some(0),
            summary_interval_seconds: Some(1),
            node: Some(name.to_owned()),
            ..Options::default()
        };
        let settings = Settings::new(&options).unwrap();
        let mut node = Node { watch: Watch::new(&settings), plugin: Plugin::new(settings) };
        node.poll();
        node
    }

    fn poll(&mut self) {
        let changes = self.watch.poll(now());
        self.plugin.apply(changes);
    }

    /// Template and score of a message.
    fn see(&mut self, message: &str) -> (TemplateId, f32) {
        let body = serde_json::json!({ "message": message }).to_string();
        let mut out = Vec::new();
        match self.plugin.record::<Json>(b"app", body.as_bytes(), now(), &mut out) {
            Outcome::Judged(verdict) => (verdict.template_id, verdict.score),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_follows_a_template_that_generalises() {
    let folder = tempfile::tempdir().unwrap();
    let back = ReturnInput::start().await;
    let flags = [
        "forward.listen=127.0.0.1:0".to_owned(),
        "http.listen=".to_owned(),
        "admin.listen=".to_owned(),
        "vector.listen=".to_owned(),
        format!("return.address={}", back.address),
        format!("state.dir={}", folder.path().display()),
    ];
    let config = Config::load(&Sources { flags: flags.into(), ..Sources::default() }).unwrap();
    let app = App::build(&config).await.unwrap();
    let (to, stop) = (output(&app.addresses().forward.unwrap().to_string()), CancellationToken::new());
    let analyzer = app.analyzer().clone();
    analyzer.except(NARROW, None).unwrap();
    let running = tokio::spawn(app.run(stop.clone()));
    let advice_dir = folder.path().join("advice");
    let advice =
        || Advice::parse(&std::fs::read(advice_dir.join("advice")).unwrap_or_default()).unwrap_or_default();
    let (narrow, general) = (TemplateId::of(NARROW), TemplateId::of(GENERAL));
    eventually("the exception is in the advice", || advice().templates.contains_key(&narrow)).await;

    let (mut first, mut second) = (Node::new("first", &advice_dir), Node::new("second", &advice_dir));
    assert_eq!(first.see(NARROW), (narrow, 0.0), "harmless by its own name");
    assert_eq!(second.see(NARROW), (narrow, 0.0));
    // Where all that was said was new, something new is no finding.
    (0..20).for_each(|_| _ = first.see(NARROW));
    assert!(first.see("the pump is leaking badly here now").1 > 0.0, "what is not excepted is new");
    for word in ["bravo", "charlie", "delta", "echo"] {
        first.see(&NARROW.replace("alpha", word));
    }
    assert_eq!(
        first.see(NARROW),
        (general, 0.0),
        "the node that generalised holds on to the old advice at once"
    );

    // The summary says so, and the sidecar takes it over.
    eventually("the detour is open", || {
        first.poll();
        first.plugin.is_open()
    })
    .await;
    let mut summary = None;
    eventually("a summary is due", || {
        summary = first.plugin.summary(now());
        summary.as_ref().is_some_and(|summary| !summary.templates.is_empty())
    })
    .await;
    let summary = summary.unwrap();
    assert_eq!(summary.node, "first");
    assert!(summary.aliases.iter().any(|alias| (alias.old, alias.new) == (narrow, general)), "{summary:?}");
    let (mut body, mut events) = (Vec::new(), Vec::new());
    summary_record(&summary, &mut body);
    oddline_codec::msgpack::write_head(now().0, &mut events);
    events.extend_from_slice(&body);
    send(&to, &Outgoing { tag: b"oddline.summary.app".to_vec(), events, records: 1 }).await;
    eventually("the general template is in the advice", || advice().templates.contains_key(&general)).await;

    // Its old name need not have a row any more: an operator ends it, and the general one's holds for it.
    analyzer.unexcept(narrow).unwrap();
    eventually("the alias is in the advice", || advice().aliases.get(&narrow) == Some(&general)).await;
    second.poll();
    assert_eq!(second.see(NARROW), (narrow, 0.0), "a node that knows the old name only");
    let mut third = Node::new("third", &advice_dir);
    assert_eq!(third.see(&NARROW.replace("alpha", "zulu")), (general, 0.0), "a node that knows neither");
    first.poll();
    assert_eq!(first.see(&NARROW.replace("alpha", "yankee")), (general, 0.0));
    stop.cancel();
    running.await.unwrap().unwrap();
}
