//! Good and bad detectors side by side: what one does, the others do not feel, and no record waits for long.

use std::{fs, path::PathBuf, time::Duration};

use oddline_analyze::ports::{Detectors, Opinion, Seen};
use oddline_component_host::{FaultLimit, Host, HostSettings, Spec};

use crate::guest::{GOOD, Guest, spec};

const LIMIT: FaultLimit = FaultLimit { faults: 3, within: Duration::from_secs(600) };

/// These guests, by name, once all of them are loaded or refused.
async fn crowd(guests: &[(&str, Guest<'_>, f32)], wait: Duration) -> Host {
    crowd_with(guests, HostSettings { wait, limit: LIMIT, keep: None }).await
}

async fn crowd_with(guests: &[(&str, Guest<'_>, f32)], settings: HostSettings) -> Host {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(format!("{name}.wasm")) };
    let specs = guests.iter().map(|(name, guest, weight)| {
        fs::write(file(name), guest.bytes()).unwrap();
        Spec { weight: *weight, ..spec(name, &file(name)) }
    });
    let host = Host::start(specs.collect(), settings).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !host.is_settled() {
        assert!(tokio::time::Instant::now() < deadline, "they are not loaded");
        tokio::task::yield_now().await;
    }
    host
}

fn figure(host: &Host, name: &str, detector: &str) -> u64 {
    let is_it =
        |label: &Option<(&'static str, String)>| label.as_ref().is_some_and(|(_, value)| value == detector);
    host.figures().iter().find(|figure| figure.name == name && is_it(&figure.label)).unwrap().value
}

fn records(count: usize) -> Vec<Seen> {
    vec![Seen { tag: "app".to_owned(), message: "a message".to_owned(), ..Seen::default() }; count]
}

const PLENTY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn opinions_are_joined_and_weighed() {
    let guests = [("one", GOOD, 1.0), ("two", GOOD, 0.8), ("light", GOOD, 0.5)];
    let host = crowd(&guests, PLENTY).await;
    let opinions = host.look(records(2), 0).await;
    let both = Opinion { score: 0.7, reason: "one: odd; two: odd".to_owned() };
    assert_eq!(opinions, [Some(both.clone()), Some(both)]);
    assert_eq!(figure(&host, "detector_opinions", "two"), 2);
    assert_eq!(
        (figure(&host, "detector_records", "light"), figure(&host, "detector_opinions", "light")),
        (2, 0)
    );
}

#[tokio::test]
async fn a_bad_one_is_turned_off_and_the_good_one_goes_on() {
    let bad = Guest { observe: "(unreachable)", ..GOOD };
    let refused = Guest { configure: "(unreachable)", ..GOOD };
    let host = crowd(&[("bad", bad, 1.0), ("refused", refused, 1.0), ("good", GOOD, 1.0)], PLENTY).await;
    assert_eq!(figure(&host, "detector_ready", "refused"), 0);
    let opinions = host.look(records(10), 0).await;
    assert!(opinions.iter().all(|opinion| opinion.as_ref().is_some_and(|it| it.reason == "good: odd")));
    assert_eq!(figure(&host, "detector_faults", "bad"), 3);
    assert_eq!(figure(&host, "detector_missed", "bad"), 7);
    assert_eq!((figure(&host, "detector_ready", "bad"), figure(&host, "detector_ready", "good")), (0, 1));
    assert_eq!(host.look(records(5), 0).await.iter().flatten().count(), 5);
    assert_eq!(figure(&host, "detector_missed", "bad"), 12);
}

/// A few milliseconds each: within what a record may take, and too much for a thousand of them.
const SLOW: &str = "(local $n i32) (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 3000000)))) (i32.const 128)";

#[tokio::test]
async fn a_slow_one_costs_what_it_has_not_seen_and_no_more_time_than_is_allowed() {
    let host = crowd(&[("slow", Guest { observe: SLOW, ..GOOD }, 1.0)], Duration::from_millis(50)).await;
    let started = std::time::Instant::now();
    let opinions = host.look(records(10_000), 0).await;
    // All of them would take the better part of a minute.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(opinions.len(), 10_000);
    assert_eq!(opinions[9_999], None);
    let (missed, seen) =
        (|| figure(&host, "detector_missed", "slow"), || figure(&host, "detector_records", "slow"));
    // The record that it was about when the time was up is counted when it is done with it.
    while missed() + seen() < 10_000 && started.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(missed() + seen(), 10_000);
    assert!(missed() > 0);
    assert_eq!(figure(&host, "detector_ready", "slow"), 1, "being slow is no fault");
}

#[tokio::test]
async fn what_is_seen_for_nobody_any_more_is_late_and_not_missed() {
    let host = crowd(&[("slow", Guest { observe: SLOW, ..GOOD }, 1.0)], PLENTY).await;
    let started = std::time::Instant::now();
    assert!(tokio::time::timeout(Duration::ZERO, host.look(records(10), 0)).await.is_err());
    while figure(&host, "detector_late", "slow") < 10 && started.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let figures = ["records", "late", "missed"].map(|of| figure(&host, &format!("detector_{of}"), "slow"));
    assert_eq!(figures, [10, 10, 0]);
    assert_eq!(host.look(records(1), 0).await.iter().flatten().count(), 1, "the next one is waited for");
    assert_eq!(figure(&host, "detector_late", "slow"), 10);
}

#[tokio::test]
async fn more_than_the_limit_are_refused() {
    let many = |count: usize| {
        let specs = (0..count).map(|number| spec(&number.to_string(), "/absent.wasm".as_ref())).collect();
        Host::start(specs, HostSettings { wait: PLENTY, limit: LIMIT, keep: None })
    };
    assert!(many(8).is_ok());
    assert_eq!(many(9).unwrap_err(), "9 detectors, more than the limit of 8");
    assert!(many(80).is_err());
}

/// A guest that learns: what it has learned raises its score.
const LEARNER: Guest<'_> = Guest {
    snapshot: "(i32.const 216)",
    restore: "(f32.store (i32.const 128) (f32.const 0.9)) (i32.const 600)",
    ..GOOD
};

#[tokio::test]
async fn what_was_learned_outlives_a_fault_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("detectors/learner.snapshot");
    let keep = || Some((file.parent().unwrap().to_owned(), Duration::ZERO));
    let settings = || HostSettings { wait: PLENTY, limit: LIMIT, keep: keep() };
    // It fails on records with severity, which these have not, and those of the second batch have.
    let failing = "(if (i32.eq (local.get 5) (i32.const 1)) (then (unreachable))) (i32.const 128)";
    let host = crowd_with(&[("learner", Guest { observe: failing, ..LEARNER }, 1.0)], settings()).await;
    let score =
        |opinions: Vec<Option<Opinion>>| opinions.last().unwrap().as_ref().map(|opinion| opinion.score);
    assert_eq!(score(host.look(records(1), 0).await), Some(0.7));
    // The batch after it is taken up once the first is kept.
    let fatal = Seen { severity: Some(oddline_engine::Severity::Fatal), ..Seen::default() };
    let after_fault = host.look([vec![fatal], records(1)].concat(), 0).await;
    assert_eq!(score(after_fault), Some(0.9), "a fresh instance knows what the old one had learned");
    assert_eq!(fs::read(&file).unwrap(), b"odd");

    let next = crowd_with(&[("learner", LEARNER, 1.0)], settings()).await;
    assert_eq!(score(next.look(records(1), 0).await), Some(0.9));
}

#[tokio::test]
async fn kept_files_are_read_up_to_the_limit() {
    for (bytes, score) in [(4 << 20, 0.9), ((4 << 20) + 1, 0.7), (40 << 20, 0.7)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("learner.snapshot"), vec![0; bytes]).unwrap();
        let keep = Some((folder.path().to_owned(), Duration::from_secs(3_600)));
        let learner = Guest { pages: 100, ..LEARNER };
        let host =
            crowd_with(&[("learner", learner, 1.0)], HostSettings { wait: PLENTY, limit: LIMIT, keep }).await;
        let opinions = host.look(records(1), 0).await;
        assert_eq!(opinions[0].as_ref().map(|opinion| opinion.score), Some(score), "{bytes}");
    }
}

#[tokio::test]
async fn a_snapshot_that_fails_is_asked_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Some((folder.path().to_owned(), Duration::ZERO));
    let broken = Guest { snapshot: "(unreachable)", ..GOOD };
    let host =
        crowd_with(&[("broken", broken, 1.0)], HostSettings { wait: PLENTY, limit: LIMIT, keep }).await;
    for _ in 0..5 {
        assert!(host.look(records(1), 0).await[0].is_some());
    }
    assert_eq!(
        (figure(&host, "detector_ready", "broken"), figure(&host, "detector_faults", "broken")),
        (1, 0)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
