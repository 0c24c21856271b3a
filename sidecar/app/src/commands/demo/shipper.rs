//! What Fluent Bit is in production, in one struct: the plugin's way of a record, a forward output for what it finds
//! questionable, and a forward input for what comes back.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use oddline_codec::msgpack;
use oddline_engine::{Ending, Settings, UnixNanos};
use oddline_ingest::{
    Deliver, Events, Outgoing,
    forward::{
        client::{Client, ClientSettings},
        receive::receive,
    },
};
use oddline_shell::{Msgpack, Outcome, Plugin, Watch};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

/// Records between the shipper and whoever reads its output.
const OUTPUT: usize = 4_096;

/// One record on its way out.
#[derive(Clone, Debug)]
pub(super) struct Shipped {
    /// Its msgpack body, tags included.
    pub(super) body: Vec<u8>,
    /// Whether it visited the sidecar.
    pub(super) returned: bool,
}

/// A shipper with our plugin in it.
#[derive(Debug)]
pub(super) struct Shipper {
    // A std mutex: held for one record, never across an await.
    plugin: Arc<Mutex<Plugin>>,
    watch: Watch,
    output: mpsc::Sender<Shipped>,
    client: Arc<Client>,
}

impl Shipper {
    /// A shipper that sends questionable records to `sidecar` and takes them back on `returns`. The second value is its
    /// output.
    pub(super) fn new(
        settings: Settings,
        sidecar: String,
        returns: TcpListener,
        shutdown: CancellationToken,
    ) -> (Shipper, mpsc::Receiver<Shipped>) {
        let watch = Watch::new(&settings);
        let plugin = Arc::new(Mutex::new(Plugin::new(settings)));
        let (output, shipped) = mpsc::channel(OUTPUT);
        let client = Arc::new(Client::new(ClientSettings::new(sidecar), Arc::new(Events::default())));
        let (back, out) = (plugin.clone(), output.clone());
        tokio::spawn(receive(returns, shutdown, move |tag, events| take_back(&back, &out, tag, events)));
        (Shipper { plugin, watch, output, client }, shipped)
    }

    /// Looks at rules, advice and heartbeat, as the plugin's own thread does twice a second.
    pub(super) fn poll(&mut self, now: UnixNanos) -> bool {
        let changes = self.watch.poll(now);
        let alive = changes.alive.is_some();
        lock(&self.plugin).apply(changes);
        alive
    }

    /// Sequences that were found to have ended oddly since the last call.
    pub(super) fn endings(&self, now: UnixNanos) -> Vec<Ending> {
        lock(&self.plugin).endings(now)
    }

    /// One record through the plugin; a questionable one goes on its way to the sidecar.
    ///
    /// # Errors
    /// If nobody reads the output any more.
    pub(super) async fn ship(&self, tag: &str, body: Vec<u8>, now: UnixNanos) -> anyhow::Result<()> {
        let mut tagged = Vec::with_capacity(body.len() + 128);
        let outcome = lock(&self.plugin).record::<Msgpack>(tag.as_bytes(), &body, now, &mut tagged);
        let pending = matches!(&outcome, Outcome::Judged(verdict) if verdict.is_pending());
        if outcome == Outcome::Unread {
            tagged = body;
        }
        if !pending {
            let shipped = Shipped { body: tagged, returned: false };
            return self.output.send(shipped).await.context("the output is closed");
        }
        let mut events = Vec::new();
        msgpack::write_head(now.0, &mut events);
        events.extend_from_slice(&tagged);
        let outgoing = Outgoing { tag: format!("oddline.pending.{tag}").into(), events, records: 1 };
        let client = self.client.clone();
        tokio::spawn(async move {
            // As with `retry_limit no_limits`: tried until it is acknowledged.
            while client.deliver(&outgoing).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Ok(())
    }
}

/// What the return input does with a frame: through the plugin again, which checks the marker and takes it off.
fn take_back(plugin: &Mutex<Plugin>, output: &mpsc::Sender<Shipped>, tag: &[u8], events: &[u8]) -> bool {
    for event in msgpack::events(events).flatten() {
        let mut body = Vec::with_capacity(event.body.len());
        let now = UnixNanos(event.time_nanos);
        if lock(plugin).record::<Msgpack>(tag, event.body, now, &mut body) == Outcome::Unread {
            body = event.body.to_vec();
        }
        if output.try_send(Shipped { body, returned: true }).is_err() {
            return false;
        }
    }
    true
}

fn lock(plugin: &Mutex<Plugin>) -> std::sync::MutexGuard<'_, Plugin> {
    plugin.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the sidecar's heartbeat is there.
///
/// # Errors
/// If it is not there within five seconds.
pub(super) async fn wait_for_sidecar(
    shipper: &mut Shipper,
    advice: &Path,
    now: impl Fn() -> UnixNanos,
) -> anyhow::Result<()> {
    for _ in 0..250 {
        if shipper.poll(now()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("no heartbeat in {} within 5 s", advice.display())
}
