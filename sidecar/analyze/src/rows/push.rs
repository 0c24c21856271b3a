//! Keeps a table in the shipper up to date: the heartbeat every second, changed rows with it, all rows in slices before
//! the table forgets them, and all at once when the table may be empty. Waits for nobody but the table.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use oddline_engine::{TemplateId, advice::row::SIDECAR_KEY};
use tokio::time::{Instant, MissedTickBehavior};

use super::Body;
use crate::{
    Analyzer,
    events::Figure,
    ports::{BackendError, RowTable},
    reach::Reach,
};

/// Between two heartbeats.
const SECOND: Duration = Duration::from_secs(1);
/// Every row is written again within so many seconds: a third of what tables are told to keep rows for.
const REFRESH_SECONDS: usize = 20;
/// Least time between two writes of everything.
const FILL_AGAIN: Duration = Duration::from_secs(10);
/// Rows made at a time.
const ROWS_AT_ONCE: usize = 500;

/// What was written, for metrics.
#[derive(Debug, Default)]
pub struct Pushed {
    rows: AtomicU64,
    fills: AtomicU64,
    failures: AtomicU64,
    /// Unix seconds of the last success; 0: none yet.
    success: AtomicU64,
}

impl Pushed {
    /// All figures.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |name: &'static str, help, counter, value: &AtomicU64| Figure {
            name: name.into(),
            help,
            label: None,
            counter,
            value: value.load(Relaxed),
        };
        vec![
            figure("table_rows_pushed", "Rows written to the shipper's table", true, &self.rows),
            figure("table_fills", "Times that all rows were written at once", true, &self.fills),
            figure("table_push_failures", "Writes to the shipper's table that failed", true, &self.failures),
            figure(
                "table_push_success_timestamp_seconds",
                "When the shipper's table last took rows, as a Unix time; 0: never",
                false,
                &self.success,
            ),
        ]
    }
}

/// Which rows a write consists of.
#[derive(Clone, Copy, PartialEq)]
enum Write {
    /// Everything there is. The heartbeat comes last: whoever sees a fresh one finds what belongs to it.
    Fill,
    /// What changed, and a slice of the rest.
    Freshen,
}

/// The state of one table, as far as it is known from here.
#[expect(missing_debug_implementations, reason = "ports are traits without Debug")]
pub struct Pusher {
    analyzer: Arc<Analyzer>,
    table: Arc<dyn RowTable>,
    pushed: Arc<Pushed>,
    /// The connection that the last write went over.
    connection: Option<u64>,
    filled: bool,
    filled_at: Option<Instant>,
    /// What is left of this round of refreshing, and how much of it a second takes.
    round: Vec<TemplateId>,
    share: usize,
    reach: Reach,
}

impl Pusher {
    /// A table that nothing is known of yet.
    pub fn new(analyzer: Arc<Analyzer>, table: Arc<dyn RowTable>) -> Pusher {
        Pusher {
            analyzer,
            table,
            pushed: Arc::default(),
            connection: None,
            filled: false,
            filled_at: None,
            round: Vec::new(),
            share: 1,
            reach: Reach::new("the shipper's table"),
        }
    }

    /// What was written.
    pub fn pushed(&self) -> Arc<Pushed> {
        self.pushed.clone()
    }

    /// Writes until it is dropped; after that, [`Pusher::farewell`].
    pub async fn run(&mut self) {
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            self.turn().await;
        }
    }

    /// Tells the shipper at once that we are going, if it has ever heard of us.
    pub async fn farewell(&mut self) {
        if self.reach.was_heard() {
            let mut body = Body::new();
            body.add(SIDECAR_KEY, &self.analyzer.shared.sidecar_row(0.0));
            // A heartbeat that stays is 3 s old soon.
            let _ = self.table.write(body.finish()).await;
        }
    }

    /// What happens once a second.
    async fn turn(&mut self) {
        let mut outcome = self.write(self.due()).await;
        // The write went over a new connection: there may be a new table at its end.
        if outcome.is_ok() && self.due() == Write::Fill {
            outcome = self.write(Write::Fill).await;
        }
        match outcome {
            Ok(()) => self.reach.succeeded(),
            Err(error) => {
                self.filled = false;
                self.pushed.failures.fetch_add(1, Relaxed);
                self.reach.failed(&error);
            }
        }
    }

    fn due(&self) -> Write {
        let may_fill = self.filled_at.is_none_or(|at| at.elapsed() >= FILL_AGAIN);
        if !self.filled && may_fill { Write::Fill } else { Write::Freshen }
    }

    async fn write(&mut self, what: Write) -> Result<(), BackendError> {
        if !self.reach.is_there() {
            // Nothing is gathered for nobody.
            self.put(self.opened(Write::Fill), what).await?;
        }
        let shared = self.analyzer.shared.clone();
        let mut ids: Vec<TemplateId> = shared.templates().take_untold().into_iter().collect();
        match what {
            Write::Fill => ids.extend(shared.templates_with_rows()),
            Write::Freshen => ids.extend(self.slice()),
        }
        let mut body = self.opened(what);
        for some in ids.chunks(ROWS_AT_ONCE) {
            for (key, row) in shared.rows(some) {
                if !body.add(&key, &row) {
                    self.put(body, what).await?;
                    body = self.opened(what);
                    body.add(&key, &row);
                }
            }
        }
        self.put(body, what).await?;
        if what == Write::Fill {
            // All rows are there: records may come.
            self.put(self.opened(Write::Freshen), what).await?;
            self.pushed.fills.fetch_add(1, Relaxed);
            self.filled = true;
            self.round.clear();
        }
        Ok(())
    }

    /// A body with what belongs into every one.
    fn opened(&self, what: Write) -> Body {
        let mut body = Body::new();
        let shared = &self.analyzer.shared;
        // While a table is filled, what is silenced holds, and no record comes to the sidecar.
        let at = if what == Write::Fill { 0.0 } else { shared.clock.unix_nanos() as f64 / 1e9 };
        body.add(SIDECAR_KEY, &shared.sidecar_row(at));
        body
    }

    /// The next slice of all rows.
    fn slice(&mut self) -> Vec<TemplateId> {
        if self.round.is_empty() {
            self.round = self.analyzer.shared.templates_with_rows();
            self.share = self.round.len().div_ceil(REFRESH_SECONDS);
        }
        self.round.split_off(self.round.len().saturating_sub(self.share))
    }

    async fn put(&mut self, body: Body, what: Write) -> Result<(), BackendError> {
        let rows = body.rows;
        let connection = self.table.write(body.finish()).await?;
        self.pushed.rows.fetch_add(rows, Relaxed);
        self.pushed.success.store(self.analyzer.shared.now_seconds(), Relaxed);
        if self.connection.replace(connection) != Some(connection) {
            self.filled = false;
        }
        if what == Write::Fill {
            self.filled_at = Some(Instant::now());
        }
        Ok(())
    }
}
