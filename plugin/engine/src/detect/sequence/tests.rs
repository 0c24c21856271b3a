//! Flows as a source meets them: steps, repeats, endings, and the limits.

use super::*;

const SECOND: i64 = 1_000_000_000;

/// Sends flows of these steps, one after another a second apart, each under an id of its own and its lines a second
/// apart.
#[derive(Default)]
struct Stream {
    sequences: Sequences,
    records: u64,
    now: i64,
    flows: u64,
}

impl Stream {
    fn line(&mut self, id: u64, kind: u32, step: u32) -> Option<String> {
        self.line_with(id, kind, step, true)
    }

    fn line_with(&mut self, id: u64, kind: u32, step: u32, has_room: bool) -> Option<String> {
        self.records += 1;
        let line = Line {
            message: b"",
            ids: &[],
            slot: step,
            is_new: false,
            record: self.records,
            now: self.now,
            has_room,
            may_learn: has_room,
        };
        self.sequences.take(id, kind, format!("id-{id}").as_bytes(), &line)
    }

    /// What was said of the steps of one flow.
    fn flow(&mut self, steps: &[u32]) -> Vec<Option<String>> {
        self.flows += 1;
        let id = self.flows;
        steps
            .iter()
            .map(|step| {
                self.now += SECOND;
                self.line(id, 1, *step)
            })
            .collect()
    }

    fn usual(&mut self, count: usize) {
        (0..count).for_each(|_| drop(self.flow(&[1, 2, 2, 3])));
    }

    /// What is found to have ended oddly by now, in words: step 3 is called `s3`.
    fn ended(&mut self) -> Vec<(u64, String)> {
        let found: Vec<_> = self.sequences.end_all(self.now).collect();
        let text = |slot: u32| format!("s{slot}");
        let told = found.iter().map(|odd| {
            let (missing, given) = odd.missing();
            (odd.record, odd.words(&text(odd.last), &text(missing), given.map(text).as_deref()))
        });
        told.collect()
    }

    /// The same after a pause that is long for anyone.
    fn ended_at_last(&mut self) -> Vec<(u64, String)> {
        self.now += 3_600 * SECOND;
        self.ended()
    }
}

#[test]
fn a_step_that_no_flow_takes_is_told_once_enough_were_seen() {
    let odd = [1, 2, 9, 3];
    let mut stream = Stream::default();
    stream.usual(100);
    assert_eq!(stream.flow(&odd), vec![None; 4], "too early");
    stream.usual(1_000);
    let words = "rare step: 1 of 1102 sequences of this kind (same id) have it";
    assert_eq!(stream.flow(&odd), [None, None, Some(words.to_owned()), None]);
}

#[test]
fn a_share_of_few_flows_proves_little() {
    // Seven of six hundred are more than one in a hundred; that it is always so has not been shown.
    let mut stream = Stream::default();
    for number in 0..600 {
        stream.flow(if number % 86 == 1 { &[1, 2, 9] } else { &[1, 2, 2, 3] });
    }
    assert!(stream.flow(&[1, 2, 9])[2].is_some());
    for number in 0..6_000 {
        stream.flow(if number % 50 == 1 { &[1, 2, 9] } else { &[1, 2, 2, 3] });
    }
    assert_eq!(stream.flow(&[1, 2, 9]), [None, None, None], "two in a hundred are no rarity");
}

#[test]
fn a_step_that_is_repeated_more_often_than_ever_is_told() {
    let mut stream = Stream::default();
    stream.usual(1_000);
    let words = "repeated step: 3 times for one id, as in 0 of 1001 sequences that came so far";
    assert_eq!(stream.flow(&[1, 2, 2, 2]), [None, None, None, Some(words.to_owned())]);
}

#[test]
fn a_loop_has_no_number_to_exceed() {
    // Two in three go round once more, as often as they like: eleven times is rare, and no break of a habit.
    let mut stream = Stream::default();
    let mut told = 0;
    for number in 0..40_000u64 {
        let rounds = 1 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).trailing_ones() as usize;
        let steps: Vec<u32> = [1].into_iter().chain(std::iter::repeat_n(2, rounds)).collect();
        told += stream.flow(&steps).iter().flatten().count();
    }
    assert_eq!(told, 0);
}

#[test]
fn flows_without_a_habit_are_left_alone() {
    // Each takes one of two hundred steps: each such step is rare, and none is odd.
    let mut stream = Stream::default();
    for number in 0..5_000u32 {
        stream.flow(&[1, 10 + number % 200]);
        assert_eq!(stream.ended(), []);
    }
    assert_eq!(stream.flow(&[1, 999]), [None, None]);
    assert_eq!(stream.ended_at_last(), []);
}

#[test]
fn kinds_are_judged_apart() {
    let mut stream = Stream::default();
    // One flow in two hundred has another sort of id; its steps are rare in all, and usual among its own.
    for id in 0..200_000u64 {
        let (kind, steps) = if id.is_multiple_of(200) { (7, [7, 8]) } else { (1, [1, 2]) };
        stream.now += SECOND / 10;
        assert!(steps.iter().all(|step| stream.line(id, kind, *step).is_none()));
    }
}

#[test]
fn a_flow_that_ends_early_is_told_on_its_last_record() {
    let mut stream = Stream::default();
    stream.usual(1_000);
    stream.flow(&[1, 2]);
    let last = stream.records;
    assert_eq!(stream.ended(), [], "it may still go on");
    stream.now += 7 * SECOND;
    assert_eq!(stream.ended(), [], "a usual wait is a second, and eight are too long");
    stream.now += 2 * SECOND;
    let words = "sequence ended: id-1001 ended after \"s2\"; 100 % of 990 sequences of its kind have \"s3\"";
    assert_eq!(stream.ended(), [(last, words.to_owned())]);
    stream.usual(10);
    assert_eq!(stream.ended_at_last(), [], "told once");
}

#[test]
fn a_step_left_out_and_a_repeat_too_few_are_told_at_the_end() {
    let mut stream = Stream::default();
    stream.usual(1_000);
    stream.flow(&[1, 3]);
    stream.flow(&[1, 2, 3]);
    let told: Vec<_> = stream.ended_at_last().into_iter().map(|(_, words)| words).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].ends_with("% of 990 sequences of its kind have \"s2\" 2 times"), "{told:?}");
    assert!(told[1].ends_with("% of 991 sequences of its kind have \"s2\" 2 times, not 1"), "{told:?}");
}

#[test]
fn what_is_odd_already_is_not_told_again_when_it_ends() {
    let mut stream = Stream::default();
    stream.usual(1_000);
    assert!(stream.flow(&[1, 2, 9]).iter().any(Option::is_some));
    assert_eq!(stream.ended_at_last(), []);
}

#[test]
fn what_a_flow_begins_with_is_no_rare_step() {
    let mut stream = Stream::default();
    stream.usual(1_000);
    assert_eq!(stream.flow(&[9, 1, 2, 2, 3]), vec![None; 5]);
}

#[test]
fn each_way_of_going_on_has_a_habit_of_its_own() {
    // Three sorts of request under one name: nothing but the first step is in all of them.
    let mut stream = Stream::default();
    let sorts: [&[u32]; 3] = [&[1, 10, 11, 12], &[1, 20, 21], &[1, 30]];
    for number in 0..1_800 {
        stream.flow(sorts[number % 3]);
        assert_eq!(stream.ended(), []);
    }
    stream.flow(&[1, 10, 11]);
    stream.flow(&[1, 20]);
    stream.flow(&[1, 30]);
    let told: Vec<_> = stream.ended_at_last().into_iter().map(|(_, words)| words).collect();
    let says = |words: &str, given: u32, missing: u32| {
        words.ends_with(&format!("sequences of its kind that have \"s{given}\" have \"s{missing}\""))
    };
    assert!(matches!(&told[..], [first, second] if says(first, 11, 12) && says(second, 20, 21)), "{told:?}");
}

#[test]
fn two_usual_endings_are_both_usual() {
    let mut stream = Stream::default();
    for number in 0..2_000 {
        stream.flow(if number % 10 == 0 { &[1, 2] } else { &[1, 2, 3] });
        assert_eq!(stream.ended(), []);
    }
    assert_eq!(stream.ended_at_last(), []);
}

#[test]
fn a_flow_that_goes_on_after_all_is_uncounted_and_teaches_patience() {
    let mut stream = Stream::default();
    stream.usual(1_000);
    // From now on there is a long pause before the last step.
    let mut told = 0;
    for _ in 0..400 {
        stream.flow(&[1, 2, 2]);
        stream.now += 60 * SECOND;
        told += stream.ended().len();
        stream.now += 60 * SECOND;
        let id = stream.flows;
        stream.line(id, 1, 3);
    }
    assert!(told < 30, "{told}: as long as it takes to learn");
    stream.ended_at_last();
    let Kind { begun, ended, .. } = stream.sequences.kinds[0];
    // Those that came before waits were known do not end until they are forgotten.
    assert_eq!((begun, ended), (1_400, 1_390), "nothing was counted twice");
}

#[test]
fn nothing_is_said_before_waits_are_known_nor_of_a_clock_that_jumps_back() {
    let mut stream = Stream::default();
    for _ in 0..20 {
        stream.flow(&[1, 2]);
    }
    assert_eq!(stream.ended_at_last(), []);
    assert_eq!(stream.sequences.kinds[0].ended, 0);
    let mut stream = Stream::default();
    stream.usual(1_000);
    stream.flow(&[1, 2]);
    stream.now = 0;
    stream.usual(100);
    assert_eq!(stream.ended(), []);
}

#[test]
fn a_flow_of_too_many_steps_is_not_missing_any() {
    for steps in [flow::MAX_STEPS, flow::MAX_STEPS + 1, 10 * flow::MAX_STEPS] {
        let mut stream = Stream::default();
        stream.usual(1_000);
        // It takes many steps that are usual elsewhere, and none of those that all take.
        let many: Vec<u32> = (100..100 + steps as u32).collect();
        stream.flow(&many);
        let flow =
            stream.sequences.flows.iter().map(|(_, flow)| *flow).max_by_key(|flow| flow.record).unwrap();
        assert_eq!(flow.is_cut, steps > flow::MAX_STEPS, "{steps}");
        assert_eq!(flow.steps().count(), steps.min(flow::MAX_STEPS));
    }
}

#[test]
fn counts_follow_the_times_and_never_overflow() {
    let mut stream = Stream::default();
    let mut told = 0;
    for _ in 0..200_000u64 {
        told += stream.flow(&[1, 2]).iter().flatten().count();
    }
    told += stream.ended_at_last().len();
    assert_eq!(told, 0);
    // What was usual for a hundred thousand flows is forgotten by as many others.
    for _ in 0..200_000u64 {
        stream.flow(&[1, 3]);
    }
    stream.ended_at_last();
    assert!(stream.flow(&[1, 3]).iter().all(Option::is_none));
    stream.flow(&[1]);
    let told = stream.ended_at_last();
    assert!(matches!(&told[..], [(_, words)] if words.contains("have \"s3\"")), "{told:?}");
}

#[test]
fn the_name_of_an_id() {
    let name = |head: &str, id: &str| {
        let message = format!("{head}{id} done");
        let name = Name::of(message.as_bytes(), &(head.len()..head.len() + id.len()));
        [name.name, name.rest, name.shown].map(|part| String::from_utf8_lossy(part).into_owned())
    };
    let block = "38865049064139660";
    assert_eq!(name("Receiving block blk_-", block), ["blk_", block, "blk_-38865049064139660"]);
    assert_eq!(name("Receiving block ", "blk_38865049064139660"), ["blk_", block, "blk_38865049064139660"]);
    assert_eq!(name("[req-", "3ea4052c"), ["req", "3ea4052c", "req-3ea4052c"]);
    assert_eq!(name("[instance: ", "b9000564"), ["instance", "b9000564", "b9000564"]);
    assert_eq!(name("{\"trace\":\"", "feedbeef01"), ["trace", "feedbeef01", "feedbeef01"]);
    for none in ["", "  ", "1d ", "at (12) -", "user 54fadb41 "] {
        assert_eq!(name(none, "a1b2c3d4"), ["", "a1b2c3d4", "a1b2c3d4"], "{none}");
    }
}

#[test]
fn ids_are_shown_up_to_a_length() {
    let shown = |length: usize| Flow::new(1, 0, "x".repeat(length).as_bytes()).text();
    assert_eq!(shown(36), "x".repeat(36));
    assert_eq!(shown(40), format!("{}…", "x".repeat(40)));
    assert_eq!(shown(400), shown(40));
}

#[test]
fn tables_are_bounded() {
    let mut stream = Stream::default();
    for id in 0..10 * MAX_FLOWS as u64 {
        for step in 0..2 * flow::MAX_STEPS as u32 {
            stream.line(id, 1, step.wrapping_mul(id as u32));
        }
    }
    let sequences = &stream.sequences;
    assert_eq!((sequences.len(), sequences.by_id.len()), (MAX_FLOWS, MAX_FLOWS));
    assert_eq!((sequences.pairs, sequences.kinds[0].len()), (MAX_PAIRS, MAX_PAIRS));
    for kind in 0..10 * MAX_KINDS as u32 {
        stream.line(u64::MAX - u64::from(kind), kind, 1);
    }
    assert_eq!(stream.sequences.kinds.len(), MAX_KINDS);
    let full = stream.sequences.len();
    stream.line_with(1 << 40, 1, 0, false);
    assert_eq!(stream.sequences.len(), full, "without room the oldest makes way");
    let mut stream = Stream::default();
    stream.line_with(1, 1, 1, true);
    stream.line_with(1, 1, 2, false);
    assert_eq!(stream.sequences.pairs(), 1, "nothing new is learned when nobody has room");
    let mut none = Stream::default();
    assert_eq!(none.line_with(1, 1, 1, false), None);
    assert_eq!(none.sequences.len(), 0);
}

#[test]
fn a_slot_that_goes_to_another_template_brings_no_habits() {
    let odd = [1, 2, 9, 3];
    let mut stream = Stream::default();
    stream.usual(1_000);
    let pairs = stream.sequences.pairs();
    // What slot 3 stood for is forgotten while a flow is under way that has taken it, and another one has not come to it.
    stream.flow(&[1, 2, 2, 3]);
    stream.flow(&[1, 2, 2]);
    stream.sequences.forget(3);
    assert_eq!(stream.sequences.pairs(), pairs - 1);
    stream.sequences.forget(3);
    stream.sequences.forget(77);
    assert_eq!(stream.sequences.pairs(), pairs - 1, "known to nobody");
    assert_eq!(stream.ended_at_last(), [], "nobody misses what is not known any more");
    // It is another message's now: its first time is as odd as that of any other.
    let told = stream.flow(&[1, 2, 2, 3]);
    let words = "rare step: 0 of 1003 sequences of this kind (same id) have it";
    assert_eq!(told, [None, None, None, Some(words.to_owned())]);
    assert_eq!(stream.sequences.pairs(), pairs);
    assert!(stream.flow(&odd)[2].is_some());
}

#[test]
fn variants_that_become_one_template_are_one_step() {
    // Slots 3 and 4 are two variants of one message; 4 takes in 3, or 5, which is no step yet, takes in both.
    for into in [4, 5] {
        let mut stream = Stream::default();
        for _ in 0..500 {
            stream.flow(&[1, 2, 2, 3]);
            stream.flow(&[1, 2, 2, 4]);
        }
        stream.ended_at_last();
        let pairs = stream.sequences.pairs();
        let under_way = stream.flows + 1;
        stream.flow(&[1, 2, 2, 3]);
        stream.sequences.join(3, into);
        if into == 5 {
            stream.sequences.join(4, 5);
        }
        assert_eq!(stream.sequences.pairs(), pairs - 1);
        // A second time for one id: the first was under the other slot.
        assert!(stream.line(under_way, 1, into).unwrap().starts_with("repeated step: 2 times"));
        assert_eq!(stream.flow(&[1, 2, 2, into]), [const { None }; 4], "as usual as both together");
        assert_eq!(stream.ended_at_last(), []);
        stream.flow(&[1, 2, 2]);
        let ended = stream.ended_at_last();
        let missing = format!("have \"s{into}\"");
        assert!(ended.len() == 1 && ended[0].1.contains(&missing), "{ended:?}");
    }
}
