//! Told: how often a finding was told before, for the same thing said again is no new finding.
//!
//! Per template two counts: one of the episode at hand, which ends when five windows (minutes, by default) pass without
//! the finding, and one of episodes, which forgets half of itself in a week and so knows what comes every hour or every
//! night. Each doubling of what was told takes the width of a level off the next: of two hundred identical lines a person
//! hears the first at its level, a few below it, and is left alone until a burst or the share of errors says that it has
//! outgrown its habit. The rule's name and severity stay on every record. A restart keeps both counts.

/// Windows of silence that end an episode.
const EPISODE_WINDOWS: i64 = 5;
/// Seven days: when half of the long habit is forgotten.
const HALF_LIFE_NANOS: f64 = 604_800e9;
/// Episodes of one message that weigh as much as one finding that was told a moment ago.
pub(crate) const SELDOM: f32 = 8.0;
/// What one doubling takes away: about the width of a level.
pub(crate) const STEP: f32 = 0.15;

/// [`Told`] as it is saved: rule, episode, habit, time.
pub(crate) type SavedTold = (u64, u32, f32, i64);

/// What was told of one template.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Hash of the rule that was told; another one is another finding.
    rule: u64,
    /// Findings of this episode.
    episode: u32,
    /// Episodes, fading.
    habit: f32,
    last: i64,
}

impl Told {
    /// Counts a finding by this rule; gives what its strength loses because it was told before. `seldom`: episodes that weigh
    /// as much as one finding that was told a moment ago.
    pub(crate) fn again(&mut self, rule: u64, seldom: f32, now: i64, window_nanos: i64) -> f32 {
        if rule != self.rule {
            *self = Told { rule, last: now, ..Told::default() };
        }
        let passed = now.saturating_sub(self.last);
        if passed / EPISODE_WINDOWS >= window_nanos {
            self.episode = 0;
        }
        self.habit = self.episodes(now);
        // A clock that was set back must not keep the episode from ending until it has caught up.
        let is_set_back = self.last.saturating_sub(now) > window_nanos;
        self.last = if is_set_back { now } else { self.last.max(now) };
        let doublings = |count: f32| (1.0 + count).log2().round();
        let lost = STEP * (doublings(self.episode as f32) + doublings(self.habit / seldom));
        if self.episode == 0 {
            self.habit += 1.0;
        }
        self.episode = self.episode.saturating_add(1);
        lost
    }

    /// Episodes of the last week or so.
    pub(crate) fn episodes(&self, now: i64) -> f32 {
        let passed = now.saturating_sub(self.last).max(0) as f64;
        self.habit * (-passed / HALF_LIFE_NANOS).exp2() as f32
    }

    /// What a restart keeps; `None`: nothing was told.
    pub(crate) fn saved(&self) -> Option<SavedTold> {
        (self.habit > 0.0).then_some((self.rule, self.episode, self.habit, self.last))
    }

    /// Takes what was kept.
    pub(crate) fn restored((rule, episode, habit, last): SavedTold) -> Told {
        Told { rule, episode, habit, last }
    }

    /// Takes over what was told of a template that merged into this one.
    pub(crate) fn absorb(&mut self, other: Told) {
        if other.last > self.last {
            self.rule = other.rule;
            self.last = other.last;
        }
        self.episode = self.episode.saturating_add(other.episode);
        self.habit += other.habit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    /// What the findings lose that come at these minutes.
    fn lost(minutes: impl IntoIterator<Item = i64>) -> Vec<f32> {
        let mut told = Told::default();
        minutes.into_iter().map(|minute| told.again(1, SELDOM, minute * MINUTE, MINUTE) / STEP).collect()
    }

    #[test]
    fn each_doubling_takes_a_level() {
        assert_eq!(lost([0; 8]), [0.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    }

    #[test]
    fn what_was_silent_for_a_while_is_told_anew() {
        assert_eq!(lost([0, 0, 0, 5, 10]), [0.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!(lost([0, 4, 8, 12]), [0.0, 1.0, 2.0, 2.0], "without a pause it is one episode");
    }

    #[test]
    fn what_comes_every_hour_or_night_is_a_habit_in_the_end() {
        let hourly = lost((0..48).map(|hour| hour * 60));
        assert!(hourly[0] == 0.0 && hourly[3] == 0.0 && hourly[12] >= 1.0 && hourly[47] >= 2.0, "{hourly:?}");
        let nightly = lost((0..40).map(|day| day * 24 * 60));
        assert!(nightly[2] == 0.0 && nightly[39] == 1.0, "{nightly:?}");
        assert!(lost((0..20).map(|week| week * 7 * 24 * 60)).iter().all(|lost| *lost == 0.0));
    }

    #[test]
    fn an_episode_ends_though_the_clock_was_set_back() {
        assert_eq!(lost([600, 600, 600, 100, 104, 109, 115]), [0.0, 1.0, 2.0, 2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn another_rule_is_another_finding_and_time_may_jump() {
        let mut told = Told::default();
        for (rule, now, expected) in
            [(1, i64::MAX, 0.0), (1, i64::MIN, 1.0), (2, 0, 0.0), (2, 0, 1.0), (1, 0, 0.0)]
        {
            assert_eq!(told.again(rule, SELDOM, now, MINUTE) / STEP, expected);
        }
    }
}
