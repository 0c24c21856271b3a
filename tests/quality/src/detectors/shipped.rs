//! Oddline as it ships: the engine as a plugin runs it, the analysis as the sidecar runs it with embedded defaults, joined
//! as `oddline scan` joins them. The variants run the same code with parts left out.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use anyhow::Context;
use oddline::commands::offline::{self, CHUNK, Offline, Timed};
use oddline_codec::json;
use oddline_engine::{
    Flag, Level, Mode, Options, Picker, Record, TemplateId, UnixNanos, Verdict, rules::RuleSet, score,
};
use tokio::runtime::Runtime;

use crate::detector::{Answer, Detector, Event, Kind};

/// A template can lose no more words than it has.
const MAX_RENAMES: usize = 64;

/// One Oddline and the thread it runs on.
pub(crate) struct Shipped {
    kind: Kind,
    offline: Offline,
    picker: Arc<Picker>,
    /// Events judged by earlier calls.
    judged: u64,
    /// Template texts by id, once asked for.
    texts: Option<HashMap<TemplateId, String>>,
    // Last, so that the tasks of the analysis end before what they run on.
    runtime: Runtime,
}

impl Shipped {
    pub(crate) fn new(kind: Kind, baseline: bool) -> anyhow::Result<Shipped> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut options = offline::options(baseline);
        if matches!(kind, Kind::Rules | Kind::Statistics) {
            options = Options { mode: Some(Mode::Inline), ..options };
        }
        // Compiled once, as by a program that runs for days.
        static BUILTIN: LazyLock<Arc<RuleSet>> = LazyLock::new(|| Arc::new(RuleSet::builtin()));
        let rules = match kind {
            Kind::Oddline | Kind::Rules => Arc::clone(&BUILTIN),
            _ => Arc::default(),
        };
        let mut offline = runtime.block_on(Offline::embedded_with(&options, rules))?;
        let picker = offline.engine().picker();
        Ok(Shipped { kind, offline, picker, judged: 0, texts: None, runtime })
    }

    fn answer(&self, verdict: Verdict) -> Answer {
        let rule = verdict.rule.as_ref().map_or(0.0, |rule| score::of_rule(rule.score));
        let Verdict { score, level, similarity, flags, reason, .. } = verdict;
        let answer = Answer { score, level, rule, template: verdict.template_id.0, reason };
        match self.kind {
            Kind::Rules => Answer { score: rule, level: Level::of(rule), ..answer },
            Kind::Semantics => {
                let unlike = similarity.map_or(0.0, |similarity| (1.0 - similarity).clamp(0.0, 1.0));
                let is_unlike = flags.contains(Flag::Semantic);
                Answer {
                    score: unlike,
                    level: if is_unlike { level.max(Level::Low) } else { Level::None },
                    ..answer
                }
            }
            _ => answer,
        }
    }
}

/// The record that a host would make of an event.
fn timed<'a>(picker: &Picker, event: &'a Event) -> anyhow::Result<Timed<'a>> {
    let record = if event.structured {
        let mut picking = picker.start(event.source.as_bytes());
        json::walk(&event.line, &mut picking).context("a structured event is not a JSON object")?;
        picking.finish()
    } else {
        Record::from_line(event.source.as_bytes(), &event.line)
    };
    Ok(Timed { record, line: &event.line, at: event.at.map(UnixNanos) })
}

impl Detector for Shipped {
    fn learn(&mut self, events: &[Event]) -> anyhow::Result<()> {
        let picker = Arc::clone(&self.picker);
        let records: Vec<Timed<'_>> =
            events.iter().map(|event| timed(&picker, event)).collect::<Result<_, _>>()?;
        self.runtime.block_on(self.offline.learn(records))?;
        Ok(())
    }

    fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>> {
        let picker = Arc::clone(&self.picker);
        let mut answers = Vec::with_capacity(events.len());
        for chunk in events.chunks(CHUNK) {
            let records: Vec<Timed<'_>> =
                chunk.iter().map(|event| timed(&picker, event)).collect::<Result<_, _>>()?;
            let verdicts = if self.kind == Kind::Semantics {
                self.runtime.block_on(self.offline.look_at(&records))
            } else {
                self.runtime.block_on(self.offline.judge(&records))
            };
            answers.extend(verdicts.into_iter().map(|verdict| self.answer(verdict)));
            for late in self.offline.late() {
                let answer = self.answer(late.verdict);
                // What a line alone has said stays, if it says more.
                if let Some(told) =
                    usize::try_from(late.at - self.judged).ok().and_then(|at| answers.get_mut(at))
                    && told.score < answer.score
                {
                    *told = answer;
                }
            }
        }
        self.judged += events.len() as u64;
        Ok(answers)
    }

    fn template(&mut self, id: u64) -> Option<(u64, String)> {
        let engine = self.offline.engine();
        let texts = self.texts.get_or_insert_with(|| {
            // Each summary tells what the ones before did not; the last one is empty.
            let summaries = std::iter::repeat_with(|| engine.take_summary(UnixNanos(0)).templates);
            let rows = summaries.take_while(|rows| !rows.is_empty()).flatten();
            rows.map(|row| (row.id, row.text)).collect()
        });
        let mut id = TemplateId(id);
        for _ in 0..MAX_RENAMES {
            id = engine.current_id(id);
        }
        // What nothing leads to any more has no text: it counts as wrong, which it is.
        Some((id.0, texts.get(&id).cloned().unwrap_or_default()))
    }
}
