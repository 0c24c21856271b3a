//! Counts that a shipper keeps and we ask for: totals become counts since the last time. Asking costs the shipper
//! nothing while we are away, where counts that it sends would wait for us, and its sources' acknowledgements with them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use oddline_engine::{BARE_COUNTS, Summary, TemplateCount, TemplateId};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    Analyzer,
    ports::{CountSource, Total},
    reach::Reach,
};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(10);
/// After a longer silence totals are a beginning, not a count: what came meanwhile would look like a burst.
const SILENCE: Duration = Duration::from_secs(25);
/// Totals remembered from one question to the next.
const MAX_TOTALS: usize = 200_000;

type Key = (TemplateId, Arc<str>, bool);

/// The totals of the last answer.
#[derive(Debug, Default)]
struct Totals(HashMap<Key, u64>);

impl Totals {
    /// Takes new totals, gives what was counted since the last ones. What is new, or began anew, counts whole.
    fn since(&mut self, totals: Vec<Total>) -> Vec<TemplateCount> {
        let mut next = HashMap::with_capacity(totals.len().min(MAX_TOTALS));
        let mut counts = Vec::new();
        for Total { id, source, rule_hit, records } in totals.into_iter().take(MAX_TOTALS) {
            let key = (id, source, rule_hit);
            let before = self.0.get(&key).copied().filter(|before| *before <= records).unwrap_or(0);
            let count = records - before;
            if count > 0 {
                counts.push(TemplateCount {
                    id,
                    text: String::new(),
                    source: key.1.as_ref().to_owned(),
                    count,
                    rule_hits: if rule_hit { count } else { 0 },
                });
            }
            next.insert(key, records);
        }
        self.0 = next;
        counts
    }
}

/// Asks every ten seconds, until it is dropped.
pub async fn pull(analyzer: Arc<Analyzer>, source: Arc<dyn CountSource>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reach = Reach::new("the shipper's counts");
    let mut totals = Totals::default();
    let mut answered: Option<Instant> = None;
    loop {
        interval.tick().await;
        match source.totals().await {
            Ok(fresh) => {
                let templates = totals.since(fresh);
                if answered.is_some_and(|at| at.elapsed() <= SILENCE) {
                    let kind = BARE_COUNTS.to_owned();
                    analyzer.shared.take_in(&Summary { kind, templates, ..Summary::default() });
                }
                answered = Some(Instant::now());
                reach.succeeded();
            }
            Err(error) => reach.failed(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(number: u64, records: u64) -> Total {
        Total { id: TemplateId(number), source: "app".into(), rule_hit: false, records }
    }

    fn counts(totals: &mut Totals, given: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let given = given.iter().map(|(number, records)| total(*number, *records)).collect();
        totals.since(given).into_iter().map(|count| (count.id.0, count.count)).collect()
    }

    #[test]
    fn totals_become_counts_over_restarts_and_expiry() {
        let mut totals = Totals::default();
        assert_eq!(counts(&mut totals, &[(1, 100), (2, 5)]), [(1, 100), (2, 5)]);
        assert_eq!(counts(&mut totals, &[(1, 130), (2, 5)]), [(1, 30)]);
        // The shipper forgets what did not come for a while, and counts anew.
        assert_eq!(counts(&mut totals, &[(1, 130)]), []);
        assert_eq!(counts(&mut totals, &[(1, 130), (2, 3)]), [(2, 3)]);
        // It was restarted.
        assert_eq!(counts(&mut totals, &[(1, 7), (2, 4)]), [(1, 7), (2, 1)]);
    }

    #[test]
    fn rule_hits_are_kept_apart() {
        let mut totals = Totals::default();
        let hit = Total { rule_hit: true, ..total(1, 4) };
        let counts = totals.since(vec![total(1, 10), hit]);
        assert_eq!(
            counts.iter().map(|count| (count.count, count.rule_hits)).collect::<Vec<_>>(),
            [(10, 0), (4, 4)]
        );
    }

    #[test]
    fn bounded_at_the_limit_one_over_and_ten_times() {
        for given in [MAX_TOTALS, MAX_TOTALS + 1, 10 * MAX_TOTALS] {
            let mut totals = Totals::default();
            let counted = totals.since((0..given as u64).map(|number| total(number, 1)).collect());
            assert_eq!((counted.len(), totals.0.len()), (MAX_TOTALS, MAX_TOTALS));
        }
    }
}
