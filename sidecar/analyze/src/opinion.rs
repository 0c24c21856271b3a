//! A batch of records from arrival to final verdicts: their templates' standings are waited for, detectors look at the
//! records meanwhile, and what they hold against one is added to its verdict.

use std::sync::Arc;

use oddline_engine::{Flag, Level, Status, TemplateId, Verdict, mask::Masked};
use tokio::time::{Instant, timeout_at};

use crate::{
    Found, Shared,
    batch::{Screened, Standing},
    intake::{self, Answer},
    judge,
    ports::{Opinion, Received, Seen},
};

impl Shared {
    /// `seen` is empty, or has one for each record.
    pub(crate) async fn judge(&self, records: Vec<Received>, seen: Vec<Seen>) -> Vec<Verdict> {
        let limit = self.settings.deadline;
        let last = records.iter().map(|record| record.arrived + limit).max().unwrap_or_else(Instant::now);
        let keeps_settled = !seen.is_empty();
        // All are queued before the first is waited for, so that they share batches.
        let find = |record: &Received| match keeps_settled && !record.local.is_pending() {
            true => Found::Settled,
            false => self.find(record),
        };
        let found: Vec<Found> = records.iter().map(find).collect();
        let answers = async {
            let mut answers = Vec::with_capacity(found.len());
            for (found, record) in found.into_iter().zip(&records) {
                answers.push(match found {
                    Found::Now(answer) => Some(answer),
                    Found::Later(waiting) => Some(waiting.answer(record.arrived + limit, limit).await),
                    Found::Settled => None,
                });
            }
            answers
        };
        let messages: Vec<String> = seen.iter().map(|seen| seen.message.clone()).collect();
        let (answers, opinions) = tokio::join!(answers, self.opinions(seen, last));
        let mut opinions = opinions.into_iter();
        let mut messages = messages.into_iter();
        let mut verdicts = Vec::with_capacity(records.len());
        for (record, answer) in records.into_iter().zip(answers) {
            let (opinion, message) = (opinions.next().flatten(), messages.next());
            let arrived = record.arrived;
            verdicts.push(self.conclude(record, answer, opinion.zip(message)));
            self.events.answered_after(arrived.elapsed());
        }
        verdicts
    }

    /// What is held against the records by `last`. They are shown even if that is over: a detector learns from them.
    async fn opinions(&self, seen: Vec<Seen>, last: Instant) -> Vec<Option<Opinion>> {
        match self.detectors.get() {
            Some(detectors) if !seen.is_empty() => {
                let look = detectors.look(seen, self.clock.unix_nanos());
                timeout_at(last, look).await.unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Judged from memory, or waiting with all other records of its template, or refused. Where its time is over already
    /// nothing is waited for, and the template is looked up for the next record.
    fn find(&self, record: &Received) -> Found {
        self.events.record_received();
        let text = record.local.template.clone().unwrap_or_default();
        // Not the id that came with it: a wrong one would put one template's verdict on another.
        let id = TemplateId::of(&text);
        let mut templates = self.templates();
        if let Some(standing) = templates.standing(id, self.now_seconds()) {
            templates.asked(id);
            self.events.answered_from_memory();
            return Found::Now(Ok(standing));
        }
        drop(templates);
        let limit = self.settings.deadline;
        if record.arrived + limit <= Instant::now() {
            self.intake.put_off(Screened { id, text });
            return Found::Now(Err(intake::late(limit)));
        }
        match self.intake.wait_for(Screened { id, text }, &record.source) {
            Ok((waiting, joined)) => {
                if joined {
                    self.events.joined_a_waiting_template();
                }
                Found::Later(waiting)
            }
            Err(refused) => Found::Now(Err(refused)),
        }
    }

    /// The final verdict on a record with this answer (none: it is settled) and what is held against it, with its
    /// message.
    fn conclude(
        &self,
        record: Received,
        answer: Option<Answer>,
        opinion: Option<(Opinion, String)>,
    ) -> Verdict {
        let mut is_news = answer.is_some();
        self.note_rule(&record.local);
        let (verdict, standing) = match answer {
            None => (record.local, None),
            Some(Ok(standing)) => (judge::judge(record.local, &standing, self.threshold()), Some(standing)),
            Some(Err((cause, why))) => {
                self.events.record_skipped(cause);
                (judge::skipped(record.local, &why), None)
            }
        };
        let verdict = match opinion {
            Some((opinion, message)) if !self.is_exempt(&verdict, standing) => {
                is_news = true;
                raise(verdict, &opinion, &message)
            }
            _ => verdict,
        };
        if is_news {
            self.announce(&record.source, &verdict);
        }
        verdict
    }

    /// A template on which a rule has hit cannot earn its place, whether or not its shipper counts hits.
    fn note_rule(&self, local: &Verdict) {
        if let (Some(rule), Some(text)) = (&local.rule, &local.template)
            && rule.score >= judge::RULE_OVER_LIKENESS
        {
            self.templates().flagged(TemplateId::of(text));
        }
    }

    /// Whether an operator has declared the message harmless: that outweighs every detector.
    fn is_exempt(&self, verdict: &Verdict, standing: Option<Standing>) -> bool {
        let standing =
            standing.or_else(|| self.templates().standing(verdict.template_id, self.now_seconds()));
        standing == Some(Standing::Exception)
    }
}

/// The verdict with what a detector holds against the record: the flag `model`, the greater of the two scores, and the
/// detector's reason behind the others. A record that the sidecar could not judge stays skipped.
pub(crate) fn raise(verdict: Verdict, opinion: &Opinion, message: &str) -> Verdict {
    let score = verdict.score.max(opinion.score);
    let mut flags = verdict.flags;
    flags.insert(Flag::Model);
    let status = verdict.status.filter(|status| *status == Status::Skipped).unwrap_or(Status::Confirmed);
    let reason = match verdict.reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{reason}; {}", opinion.reason),
        None => opinion.reason.clone(),
    };
    // A quiet verdict carries no template, and a flagged record does.
    let template = verdict.template.unwrap_or_else(|| masked(message));
    Verdict {
        score,
        level: Level::of(score),
        status: Some(status),
        flags,
        reason: Some(reason),
        template: Some(template),
        ..verdict
    }
}

fn masked(message: &str) -> Arc<str> {
    let mut masked = Masked::default();
    masked.mask(message.as_bytes());
    String::from_utf8_lossy(&masked.text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(score: f32) -> Opinion {
        Opinion { score, reason: "slow-requests: duration_ms is 900".to_owned() }
    }

    #[test]
    fn an_opinion_raises_and_never_lowers() {
        let quiet = Verdict { score: 0.1, template_id: TemplateId(7), ..Verdict::default() };
        let raised = raise(quiet, &slow(0.7), "took 900 ms");
        assert_eq!(
            (raised.score, raised.level, raised.status),
            (0.7, Level::Medium, Some(Status::Confirmed))
        );
        assert!(raised.flags.contains(Flag::Model) && raised.template_id == TemplateId(7));
        assert_eq!(raised.template.as_deref(), Some("took <*>"));
        assert_eq!(raised.reason.as_deref(), Some("slow-requests: duration_ms is 900"));
        let grave = Verdict { score: 0.95, level: Level::Critical, ..Verdict::default() };
        assert_eq!(raise(grave, &slow(0.7), "").score, 0.95);
    }

    #[test]
    fn what_was_cleared_is_confirmed_and_what_was_skipped_stays_so() {
        let local = |status| Verdict {
            status: Some(status),
            template: Some("the message".into()),
            reason: Some("known message".to_owned()),
            ..Verdict::default()
        };
        let raised = raise(local(Status::Cleared), &slow(0.5), "the message");
        assert_eq!((raised.status, raised.level), (Some(Status::Confirmed), Level::Low));
        assert_eq!(raised.reason.as_deref(), Some("known message; slow-requests: duration_ms is 900"));
        assert_eq!(raise(local(Status::Skipped), &slow(0.5), "").status, Some(Status::Skipped));
    }
}
