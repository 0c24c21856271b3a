//! How often each template comes, on each node: what is expected, and, for shippers that only count, bursts and
//! drops while they last, told by the engine's own estimator. Bounded, knows no clock, and is not kept over a restart:
//! it judges again after five windows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oddline_engine::{Odd, Rate, Settings, TemplateId, advice::row::OddRate};

/// Sources told apart; the rest shares one rate.
const MAX_SOURCES: usize = 10_000;
/// Shortest window, in seconds: counts come every ten, and what has few of them in it says little.
const MIN_WINDOW: u64 = 60;
/// Length of the short bins that tell when a burst is over, in seconds.
const BIN: u64 = 10;
/// A burst is over when it comes less often than this, times the usual.
const OVER: f64 = 1.5;
/// A drop is over when so much of the usual has come in a window: the share below which the engine sees one.
const RECOVERED: f64 = 0.2;

/// All rates.
#[derive(Debug)]
pub(crate) struct Rates {
    tail: f64,
    /// Seconds in a window.
    seconds: u64,
    /// The window that is open.
    window: Option<i64>,
    max_templates: usize,
    /// By template and node: what is usual on one node says nothing about another.
    templates: BTreeMap<(TemplateId, u64), Watch>,
    /// By node and source.
    sources: HashMap<u64, Rate>,
    /// Templates in a burst, and where.
    bursting: BTreeSet<(TemplateId, u64)>,
    changed: BTreeSet<TemplateId>,
}

/// One template's rate.
#[derive(Clone, Copy, Debug)]
struct Watch {
    rate: Rate,
    /// Where it came from last.
    source: u64,
    /// When, in Unix seconds.
    last: u64,
    /// Whether it came from a shipper that does not tell bursts itself.
    bare: bool,
    /// Records in this bin and in the two before it.
    bins: [u32; 3],
    burst: Option<Odd>,
    drop: Option<Odd>,
}

/// Where records were counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From<'n> {
    /// Empty: not told.
    pub(crate) node: &'n str,
    pub(crate) source: &'n str,
}

/// What rates say about a template, in events a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) burst: Option<OddRate>,
    pub(crate) drop: Option<OddRate>,
    pub(crate) expected: Option<f64>,
}

impl Rates {
    pub(crate) fn new(engine: &Settings, max_templates: usize) -> Rates {
        let seconds = u64::try_from(engine.window_nanos() / 1_000_000_000).unwrap_or_default();
        Rates {
            tail: engine.tail(),
            seconds: seconds.max(MIN_WINDOW),
            window: None,
            max_templates,
            templates: BTreeMap::new(),
            sources: HashMap::new(),
            bursting: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Adds the records of one template, node and source; `bare`: whoever counted them tells no bursts.
    pub(crate) fn count(&mut self, id: TemplateId, from: From<'_>, records: u64, bare: bool, now: u64) {
        let window = self.close_windows(now);
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let node = TemplateId::of(from.node).0;
        let place = (id, node);
        let mut source = TemplateId::of(from.source).0 ^ node.rotate_left(1);
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            source = 0;
        }
        let of_source = self.sources.entry(source).or_insert_with(|| Rate::since(window, 0));
        of_source.add(records, 0.0);
        let windows = of_source.windows();
        let watch =
            self.templates.entry(place).or_insert_with(|| Watch::new(Rate::since(window, windows), now));
        (watch.source, watch.bare) = (source, bare);
        watch.count_in_bin(records, now);
        let odd = watch.rate.add(records, self.tail).filter(|_| bare);
        let count = f64::from(watch.rate.count());
        let before = (watch.burst, watch.drop);
        watch.burst = match (watch.burst, odd) {
            (None, odd) => odd,
            (Some(burst), odd) => {
                let actual = burst.actual.max(count).max(odd.map_or(0.0, |odd| odd.actual));
                Some(Odd { actual, ..burst })
            }
        };
        watch.drop = watch.drop.filter(|drop| count <= RECOVERED * drop.expected);
        if before != (watch.burst, watch.drop) {
            self.changed.insert(id);
        }
        if watch.burst.is_some() {
            self.bursting.insert(place);
        }
        self.evict(place);
    }

    /// What time alone changes: windows close, bursts end. Call it about once a second.
    pub(crate) fn pass(&mut self, now: u64) {
        self.close_windows(now);
        let (templates, seconds, changed) = (&mut self.templates, self.seconds, &mut self.changed);
        self.bursting.retain(|place| {
            let Some(watch) = templates.get_mut(place) else { return false };
            let lasts =
                watch.burst.is_some_and(|burst| watch.recently(seconds, now) >= OVER * burst.expected);
            if !lasts {
                watch.burst = None;
                changed.insert(place.0);
            }
            lasts
        });
    }

    /// Templates of which something else is told than at the last call.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<TemplateId> {
        std::mem::take(&mut self.changed)
    }

    /// Over all nodes: what is expected on them together, and the worst of what is odd on any.
    pub(crate) fn told(&self, id: TemplateId) -> Told {
        let minute = |records: f64| (records * 600.0 / self.seconds as f64).round() / 10.0;
        let odd = |odd: Odd| OddRate { expected: minute(odd.expected), actual: minute(odd.actual) };
        let nodes = || self.templates.range((id, 0)..=(id, u64::MAX)).map(|(_, watch)| watch);
        let distance = |odd: &Odd| (odd.actual - odd.expected).abs();
        let worst = |odds: &mut dyn Iterator<Item = Odd>| {
            odds.max_by(|left, right| distance(left).total_cmp(&distance(right))).map(odd)
        };
        let expected: Vec<f64> = nodes().filter_map(|watch| watch.rate.expected()).collect();
        Told {
            burst: worst(&mut nodes().filter_map(|watch| watch.burst)),
            drop: worst(&mut nodes().filter_map(|watch| watch.drop)),
            expected: (!expected.is_empty()).then(|| minute(expected.iter().sum())),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.templates.len()
    }

    /// Closes what is over: this is when it shows that a steady message stayed away. Gives the open window.
    fn close_windows(&mut self, now: u64) -> i64 {
        let window = i64::try_from(now / self.seconds).unwrap_or(i64::MAX);
        let open = *self.window.get_or_insert(window);
        if window == open {
            return open;
        }
        if window < open {
            // The clock was set back; by more than a window, all begin it anew.
            let back = if window < open - 1 { window } else { open };
            self.window = Some(back);
            self.sources.values_mut().for_each(|rate| _ = rate.roll(back));
            self.templates.values_mut().for_each(|watch| _ = watch.rate.roll(back));
            return back;
        }
        // If a source as a whole went quiet, no single message of it did.
        let lively: HashMap<u64, bool> = (self.sources.iter_mut())
            .map(|(source, rate)| {
                let count = f64::from(rate.pending(window).unwrap_or_default());
                let lively = rate.expected().is_some_and(|usual| count >= 0.5 * usual);
                rate.roll(window);
                (*source, lively)
            })
            .collect();
        let (tail, changed) = (self.tail, &mut self.changed);
        self.templates.iter_mut().for_each(|((id, _), watch)| {
            let judged = watch.bare && lively.get(&watch.source) == Some(&true);
            let closed = watch.rate.pending(window).filter(|_| judged);
            let drop = closed.and_then(|count| watch.rate.drop(count, tail));
            watch.rate.roll(window);
            if drop != watch.drop {
                changed.insert(*id);
            }
            watch.drop = drop;
        });
        self.window = Some(window);
        window
    }

    /// Frees a twentieth at once, so that the sorting is paid rarely.
    fn evict(&mut self, keep: (TemplateId, u64)) {
        if self.templates.len() <= self.max_templates {
            return;
        }
        let mut by_age: Vec<_> = self.templates.iter().map(|(place, watch)| (watch.last, *place)).collect();
        by_age.sort_unstable();
        let surplus = self.templates.len() - (self.max_templates - self.max_templates / 20);
        for (_, place) in by_age.into_iter().filter(|(_, place)| *place != keep).take(surplus) {
            self.templates.remove(&place);
            self.changed.remove(&place.0);
            self.bursting.remove(&place);
        }
    }
}

impl Watch {
    fn new(rate: Rate, now: u64) -> Watch {
        Watch { rate, source: 0, last: now, bare: false, bins: [0; 3], burst: None, drop: None }
    }

    fn count_in_bin(&mut self, records: u32, now: u64) {
        self.bins = self.bins_at(now);
        self.bins[0] = self.bins[0].saturating_add(records);
        self.last = if self.is_set_back(now) { now } else { self.last.max(now) };
    }

    /// Whether the clock was set back since, by more than what a bin can bear.
    fn is_set_back(&self, now: u64) -> bool {
        self.last.saturating_sub(now) > BIN
    }

    /// The bins as they are when it is `now`.
    fn bins_at(&self, now: u64) -> [u32; 3] {
        let [this, one, two] = self.bins;
        if self.is_set_back(now) {
            return [0; 3];
        }
        match (now / BIN).saturating_sub(self.last / BIN) {
            0 => [this, one, two],
            1 => [0, this, one],
            2 => [0, 0, this],
            _ => [0; 3],
        }
    }

    /// How much it came in the last twenty to thirty seconds, in records a window. Counts need not come evenly.
    fn recently(&self, seconds: u64, now: u64) -> f64 {
        let [this, one, two] = self.bins_at(now).map(f64::from);
        (this + one).max(one + two) * seconds as f64 / (2 * BIN) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: From<'static> = From { node: "", source: "app" };

    impl Rates {
        fn told_at(&self, id: TemplateId) -> bool {
            self.templates.range((id, 0)..=(id, u64::MAX)).next().is_some()
        }
    }

    /// Rates, and the second it is.
    struct World(Rates, u64);

    impl World {
        fn new() -> World {
            World(Rates::new(&Settings::default(), 1_000), 600_000)
        }

        /// Every ten seconds so many records of each of these, as a shipper that only counts reports them.
        fn count(&mut self, seconds: u64, counts: &[(&str, u64)]) {
            self.count_as(true, seconds, counts);
        }

        fn count_as(&mut self, bare: bool, seconds: u64, counts: &[(&str, u64)]) {
            for _ in 0..seconds / 10 {
                for second in 0..10 {
                    self.0.pass(self.1 + second);
                }
                self.1 += 10;
                for (text, records) in counts {
                    self.0.count(TemplateId::of(text), APP, *records, bare, self.1);
                }
            }
        }

        fn told(&self, text: &str) -> Told {
            self.0.told(TemplateId::of(text))
        }

        fn changed(&mut self) -> usize {
            self.0.take_changed().len()
        }
    }

    #[test]
    fn a_burst_is_told_with_the_first_counts_that_show_it_and_ends_soon_after_it() {
        let mut world = World::new();
        world.count(600, &[("a", 10), ("b", 50)]);
        assert_eq!((world.told("a").burst, world.changed()), (None, 0));
        let expected = world.told("a").expected.unwrap();
        assert!((55.0..=60.0).contains(&expected), "the first window was not whole: {expected}");
        world.count(10, &[("a", 400), ("b", 50)]);
        let burst = world.told("a").burst.unwrap();
        assert!(burst.expected < 80.0 && burst.actual >= 400.0, "{burst:?}");
        assert_eq!(world.0.take_changed(), [TemplateId::of("a")].into());
        // It lasts over the end of its window…
        world.count(60, &[("a", 400), ("b", 50)]);
        assert!(world.told("a").burst.unwrap().actual >= 2_000.0);
        assert_eq!(world.told("b").burst, None);
        world.changed();
        // … and ends within forty seconds.
        world.count(40, &[("a", 10), ("b", 50)]);
        assert_eq!((world.told("a").burst, world.changed()), (None, 1));
    }

    #[test]
    fn a_burst_ends_when_nothing_comes_any_more() {
        let mut world = World::new();
        world.count(600, &[("a", 10)]);
        world.count(10, &[("a", 1_000)]);
        assert!(world.told("a").burst.is_some());
        world.count(40, &[]);
        assert_eq!(world.told("a").burst, None);
        assert!(world.0.bursting.is_empty());
    }

    #[test]
    fn a_drop_is_told_when_its_window_closes_and_ends_when_records_are_back() {
        let mut world = World::new();
        world.count(600, &[("a", 100), ("b", 100)]);
        world.count(80, &[("a", 1), ("b", 100)]);
        let drop = world.told("a").drop.unwrap();
        // The first of its six reports tells of the ten seconds before it.
        assert!(drop.expected > 550.0 && drop.actual <= 105.0, "{drop:?}");
        world.changed();
        world.count(20, &[("a", 100), ("b", 100)]);
        assert_eq!((world.told("a").drop, world.changed()), (None, 1));
    }

    #[test]
    fn a_source_that_goes_quiet_as_a_whole_drops_nothing() {
        let mut world = World::new();
        world.count(600, &[("a", 100), ("b", 100)]);
        world.count(300, &[("a", 1)]);
        assert_eq!(world.told("a").drop, None);
        world.count(300, &[]);
        assert_eq!(world.told("a").drop, None);
    }

    #[test]
    fn who_tells_bursts_itself_gets_none_but_is_expected_all_the_same() {
        let mut world = World::new();
        world.count_as(false, 600, &[("a", 100), ("b", 100)]);
        world.count_as(false, 10, &[("a", 5_000), ("b", 100)]);
        assert_eq!(world.told("a").burst, None);
        assert!(world.told("b").expected.unwrap() > 550.0);
        world.count_as(false, 120, &[("b", 100)]);
        assert_eq!((world.told("a").drop, world.changed()), (None, 0));
    }

    #[test]
    fn nodes_are_not_mixed() {
        let mut world = World::new();
        let id = TemplateId::of("a");
        let on = |node| From { node, source: "app" };
        let mut minute = |busy: u64, calm: u64| {
            for second in (10..=60).step_by(10) {
                world.1 += 10;
                world.0.pass(world.1 + second / 60);
                world.0.count(id, on("busy"), busy, true, world.1);
                world.0.count(id, on("calm"), calm, true, world.1);
            }
            world.0.told(id)
        };
        for _ in 0..10 {
            minute(1_000, 2);
        }
        let usual = minute(1_000, 2);
        assert_eq!((usual.burst, usual.drop), (None, None));
        assert!(usual.expected.unwrap() > 5_500.0, "of both together: {usual:?}");
        // A hundred more are nothing to the busy one, and a burst on the other.
        let burst = minute(1_000, 100).burst.unwrap();
        assert!(burst.expected < 20.0 && burst.actual < 700.0, "{burst:?}");
    }

    #[test]
    fn little_history_tells_nothing() {
        let mut world = World::new();
        world.count(180, &[("a", 10)]);
        world.count(10, &[("a", 10_000)]);
        assert_eq!(world.told("a"), Told::default());
    }

    #[test]
    fn tables_are_bounded_at_the_limit_one_over_and_ten_times() {
        for (given, held) in [(1_000, 1_000), (1_001, 950), (10_000, 1_000)] {
            let mut world = World::new();
            for number in 0..given {
                let (id, now) = (TemplateId(number), world.1 + number / 100);
                let source = format!("source {number}");
                world.0.count(id, From { node: "", source: &source }, 1, true, now);
                assert!(world.0.len() <= 1_000);
            }
            assert!(world.0.len() <= held && world.0.len() >= 950, "{given}: {}", world.0.len());
            assert!(world.0.told_at(TemplateId(given - 1)), "the newest stay");
        }
        let mut world = World::new();
        for number in 0..10 * MAX_SOURCES as u64 {
            let source = format!("source {number}");
            world.0.count(TemplateId(1), From { node: "n", source: &source }, u64::MAX, true, world.1);
        }
        assert_eq!(world.0.sources.len(), MAX_SOURCES + 1);
    }

    #[test]
    fn time_that_runs_backwards_closes_nothing() {
        let mut world = World::new();
        world.count(600, &[("a", 10)]);
        let before = world.told("a");
        world.0.pass(0);
        world.0.count(TemplateId::of("a"), APP, 1, true, 0);
        assert_eq!(world.told("a"), before);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_burst_and_ends_those_there_are() {
        for back in [1, 60, 61, 600, 100_000] {
            let mut world = World::new();
            world.count(600, &[("a", 10)]);
            world.count(10, &[("a", 1_000)]);
            assert!(world.told("a").burst.is_some());
            world.1 -= back;
            world.count(60, &[("a", 10)]);
            assert_eq!(world.told("a").burst, None, "{back}");
            for _ in 0..20 {
                world.count(30, &[("a", 10)]);
                assert_eq!((world.told("a").burst, world.told("a").drop), (None, None), "{back}");
            }
        }
    }
}
