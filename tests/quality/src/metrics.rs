//! Metrics over labelled answers. Pure arithmetic; every one takes weights, so that it can be bootstrapped.

use std::collections::BTreeMap;

/// Counts of a yes-or-no detection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Odd and flagged.
    pub hits: f64,
    /// Normal and flagged.
    pub false_alarms: f64,
    /// Odd and not flagged.
    pub misses: f64,
}

impl Counts {
    /// From pairs of (odd, flagged).
    pub fn of(pairs: impl IntoIterator<Item = (bool, bool)>) -> Counts {
        let mut counts = Counts::default();
        for pair in pairs {
            match pair {
                (true, true) => counts.hits += 1.0,
                (false, true) => counts.false_alarms += 1.0,
                (true, false) => counts.misses += 1.0,
                (false, false) => {}
            }
        }
        counts
    }

    /// Weighted sum over units.
    pub fn sum(all: &[Counts], weights: &[f64]) -> Counts {
        all.iter().zip(weights).fold(Counts::default(), |sum, (counts, weight)| Counts {
            hits: sum.hits + counts.hits * weight,
            false_alarms: sum.false_alarms + counts.false_alarms * weight,
            misses: sum.misses + counts.misses * weight,
        })
    }

    /// Share of the flagged that is odd; `None` if nothing is flagged.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.false_alarms)
    }

    /// Share of the odd that is flagged; `None` if nothing is odd.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses)
    }

    /// Harmonic mean of both; `None` if there is nothing odd.
    pub fn f1(&self) -> Option<f64> {
        if self.hits + self.misses == 0.0 {
            return None;
        }
        ratio(2.0 * self.hits, 2.0 * self.hits + self.false_alarms + self.misses)
    }
}

/// `None` where nothing is to be divided by.
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Scores of units that are odd or normal, sorted once.
#[derive(Debug)]
pub struct Ranking {
    /// Units of equal score, ascending.
    groups: Vec<Vec<usize>>,
    odd: Vec<bool>,
}

impl Ranking {
    /// From pairs of (odd, score).
    pub fn new(units: &[(bool, f32)]) -> Ranking {
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by(|left, right| units[*left].1.total_cmp(&units[*right].1));
        let groups =
            order.chunk_by(|left, right| units[*left].1 == units[*right].1).map(<[usize]>::to_vec).collect();
        Ranking { groups, odd: units.iter().map(|(odd, _)| *odd).collect() }
    }

    /// The chance that an odd unit scores higher than a normal one; ties count half.
    pub fn auc(&self, weights: &[f64]) -> Option<f64> {
        let (mut normal_below, mut odd_total, mut wins) = (0.0, 0.0, 0.0);
        for group in &self.groups {
            let (mut normal, mut odd) = (0.0, 0.0);
            for &unit in group {
                *(if self.odd[unit] { &mut odd } else { &mut normal }) += weights[unit];
            }
            wins += odd * (normal_below + normal / 2.0);
            normal_below += normal;
            odd_total += odd;
        }
        ratio(wins, odd_total * normal_below)
    }

    /// Recall among the best-scored `share` of units, as a share of what is attainable there. Ties at the edge count by
    /// the share of them that fits: the order of equal scores is no merit.
    pub fn attained_at_top(&self, share: f64) -> Option<f64> {
        let places = (self.odd.len() as f64 * share).ceil();
        let odd = self.odd.iter().filter(|odd| **odd).count() as f64;
        let (mut left, mut hits) = (places, 0.0);
        for group in self.groups.iter().rev() {
            let in_group = group.iter().filter(|&&unit| self.odd[unit]).count() as f64;
            let size = group.len() as f64;
            hits += in_group * (left / size).min(1.0);
            left -= size;
            if left <= 0.0 {
                break;
            }
        }
        ratio(hits, places.min(odd))
    }
}

/// How well lines are put under templates: the four measures of log parsing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parsing {
    /// Grouping accuracy: share of lines whose group is exactly the true one.
    pub ga: f64,
    /// F1 of groups.
    pub fga: f64,
    /// Share of lines whose template is the true one, to the word.
    pub pa: f64,
    /// F1 of templates: group and words right.
    pub fta: f64,
}

impl Parsing {
    /// From lines of (true group, true template) and (group, template), in the same order.
    pub fn of(truth: &[(String, String)], mined: &[(u64, String)]) -> Parsing {
        let mut true_groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (line, ((id, _), (group, _))) in truth.iter().zip(mined).enumerate() {
            true_groups.entry(id).or_default().push(line);
            groups.entry(*group).or_default().push(line);
        }
        let same: Vec<bool> =
            truth.iter().zip(mined).map(|((_, truth), (_, mined))| normal(truth) == normal(mined)).collect();
        let right = |lines: &Vec<usize>| {
            lines.first().is_some_and(|line| true_groups[truth[*line].0.as_str()] == *lines)
        };
        let grouped: Vec<&Vec<usize>> = groups.values().filter(|lines| right(lines)).collect();
        let worded = grouped.iter().filter(|lines| same[lines[0]]).count();
        let f1 = |right: usize| 2.0 * right as f64 / (groups.len() + true_groups.len()).max(1) as f64;
        let lines = truth.len().max(1) as f64;
        Parsing {
            ga: grouped.iter().map(|lines| lines.len()).sum::<usize>() as f64 / lines,
            fga: f1(grouped.len()),
            pa: same.iter().filter(|same| **same).count() as f64 / lines,
            fta: f1(worded),
        }
    }
}

/// A template as both sides are compared: variables that only punctuation joins or quotes are one variable, and runs of
/// spaces are one space. The usual rules of parsing benchmarks, applied to both sides alike.
fn normal(template: &str) -> String {
    const JOINED: [(&str, &str); 11] = [
        ("<*><*>", "<*>"),
        ("<*>:<*>", "<*>"),
        ("<*>.<*>", "<*>"),
        ("<*>,<*>", "<*>"),
        ("<*>-<*>", "<*>"),
        ("<*>/<*>", "<*>"),
        ("<*>#<*>", "<*>"),
        ("<*>@<*>", "<*>"),
        ("\"<*>\"", "<*>"),
        ("'<*>'", "<*>"),
        ("  ", " "),
    ];
    let mut text = template.trim().to_owned();
    loop {
        let before = text.len();
        for (from, to) in JOINED {
            text = text.replace(from, to);
        }
        if text.len() == before {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [f64; 4] = [1.0; 4];

    #[test]
    fn counts_become_precision_recall_and_f1() {
        let counts = Counts::of([(true, true), (true, false), (false, true), (false, false)]);
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!(Counts::default().f1(), None);
        assert_eq!(Counts::of([(true, false)]).f1(), Some(0.0));
        assert_eq!(Counts::sum(&[counts, counts], &[0.0, 2.0]).hits, 2.0);
    }

    #[test]
    fn ranking_counts_ties_half() {
        let auc = |units: &[(bool, f32)]| Ranking::new(units).auc(&ONE);
        assert_eq!(auc(&[(true, 0.9), (true, 0.8), (false, 0.2), (false, 0.1)]), Some(1.0));
        assert_eq!(auc(&[(true, 0.1), (true, 0.2), (false, 0.8), (false, 0.9)]), Some(0.0));
        assert_eq!(auc(&[(true, 0.5), (false, 0.5), (true, 0.5), (false, 0.5)]), Some(0.5));
        assert_eq!(auc(&[(true, 0.5), (true, 0.6)]), None);
        let first_pair = Ranking::new(&[(true, 0.9), (false, 0.1), (true, 0.0), (false, 0.5)]);
        assert_eq!(first_pair.auc(&[1.0, 1.0, 0.0, 0.0]), Some(1.0), "weights leave units out");
    }

    #[test]
    fn the_top_share_is_measured_against_what_it_can_hold() {
        let mut units = vec![(false, 0.1); 198];
        units.extend([(true, 0.9), (true, 0.05)]);
        assert_eq!(Ranking::new(&units).attained_at_top(0.01), Some(0.5), "two places, one of two found");
        let tied = vec![(true, 0.5), (false, 0.5), (false, 0.5), (false, 0.5)];
        assert_eq!(Ranking::new(&tied).attained_at_top(0.25), Some(0.25), "a quarter of the tie fits");
    }

    #[test]
    fn parsing_wants_whole_groups_and_all_words() {
        let truth = |id: &str, text: &str| (id.to_owned(), text.to_owned());
        let truths = [
            truth("A", "user <*> in"),
            truth("A", "user <*> in"),
            truth("B", "from <*>:<*>"),
            truth("C", "from host <*>"),
        ];
        let exact = [(1, "user <*> in"), (1, "user <*> in"), (2, "from <*>"), (3, "from host <*>")];
        let split = [(1, "user <*> in"), (4, "user ann in"), (2, "from <*>"), (3, "from host x")];
        let of =
            |mined: [(u64, &str); 4]| Parsing::of(&truths, &mined.map(|(id, text)| (id, text.to_owned())));
        assert_eq!(of(exact), Parsing { ga: 1.0, fga: 1.0, pa: 1.0, fta: 1.0 });
        let Parsing { ga, fga, pa, fta } = of(split);
        assert_eq!((ga, pa), (0.5, 0.5));
        assert!((fga - 4.0 / 7.0).abs() < 1e-9 && (fta - 2.0 / 7.0).abs() < 1e-9, "{fga} {fta}");
    }
}
