//! What operators say and ask while records flow: one message checked, a template declared harmless or reported, a rule
//! silenced. What they say is bounded, and outlives a restart.

use std::{
    future::Future,
    sync::{Arc, PoisonError},
};

use oddline_engine::{Body, Record, Status, TemplateId, UnixNanos, Verdict, mask::Masked};
use tokio::time::Instant;

use crate::{
    Analyzer,
    feedback::MAX_NAME_BYTES,
    findings::Finding,
    ports::{BackendError, Received},
    seeds,
    templates::{MAX_EXCEPTION_BYTES, MAX_EXCEPTIONS},
};

/// What an operator has declared harmless.
#[derive(Clone, Debug, PartialEq)]
pub struct Exception {
    /// A template, or a rule.
    pub what: Excepted,
    /// Unix seconds until which it holds; `None`: for ever.
    pub expires: Option<u64>,
}

/// What an exception is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Excepted {
    /// Every message of a template.
    Template {
        /// Its id.
        id: TemplateId,
        /// Its text.
        text: Arc<str>,
    },
    /// Every hit of a rule.
    Rule(String),
}

/// Why an operator's word was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nothing by that name.
    #[error("{0}")]
    Unknown(String),
    /// Too much, or too long.
    #[error("{0}")]
    OverLimit(String),
    /// A backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Analyzer {
    /// Judges one record as if it came now, whatever came before it; nothing is learned from it. `body` is all of it, for
    /// rules that ask for it.
    ///
    /// # Errors
    /// Only if the runtime is ending.
    pub fn check<'a>(
        &'a self,
        record: Record<'a>,
        body: &dyn Body,
    ) -> impl Future<Output = Result<Verdict, BackendError>> + Send + use<'a> {
        let is_silenced = |name: &str| self.shared.is_silenced(name);
        let conditions = self.shared.conditions();
        let also = conditions.and_then(|conditions| conditions.best(record.tag, body, &is_silenced));
        async move {
            let mut beside = seeds::beside(&self.shared).await?;
            let engine = &mut beside.engine;
            let local = engine.observe_with(&record, also, UnixNanos(self.shared.clock.unix_nanos()));
            let template = local.template.clone().unwrap_or_else(|| engine_text(engine, &record));
            // Judging may take long, and others wait for their engine.
            drop(beside);
            let local = Verdict { template: Some(template), status: Some(Status::Pending), ..local };
            let source = String::from_utf8_lossy(record.tag).into();
            let verdict = self
                .shared
                .judge(vec![Received { source, local, arrived: Instant::now() }], Vec::new())
                .await
                .pop();
            verdict.ok_or_else(|| BackendError::bug("no verdict on the one record"))
        }
    }

    /// The template of a message: the one that it has in the stream, if it is remembered.
    ///
    /// # Errors
    /// Only if the runtime is ending.
    pub async fn template_of(&self, message: &[u8]) -> Result<(TemplateId, Arc<str>), BackendError> {
        let mut beside = seeds::beside(&self.shared).await?;
        let record = Record::from_line(b"operator", message);
        beside.engine.observe(&record, UnixNanos(0));
        let text = engine_text(&mut beside.engine, &record);
        Ok((TemplateId::of(&text), text))
    }

    /// The text of a template that is remembered.
    ///
    /// # Errors
    /// If it is not.
    pub fn text_of(&self, id: TemplateId) -> Result<Arc<str>, Refused> {
        let text = self.shared.templates().get(id).map(|row| row.text.clone());
        text.ok_or_else(|| {
            Refused::Unknown(format!("template {id} is not among those remembered; give its text"))
        })
    }

    /// Unix seconds, by the clock of the analysis.
    pub fn now(&self) -> u64 {
        self.shared.now_seconds()
    }

    /// Saves what is new at once; whether the store took it. If not, it is tried again every second, and lost if the
    /// program ends before.
    pub async fn keep(&self) -> bool {
        self.shared.save().await
    }

    /// Takes a template from the known ones; it cannot earn its place again.
    ///
    /// # Errors
    /// If the index fails.
    pub async fn report(&self, text: &Arc<str>) -> Result<(), BackendError> {
        let id = TemplateId::of(text);
        let _changing = self.shared.changing_known.lock().await;
        self.shared.compare.remove(&[id]).await?;
        self.shared.templates().reported(id, text, self.shared.now_seconds());
        self.shared.calibration.lock().unwrap_or_else(PoisonError::into_inner).changes += 1;
        Ok(())
    }

    /// Declares a template harmless until `expires` (Unix seconds; `None`: for ever).
    ///
    /// # Errors
    /// If its text is too long, or there are too many exceptions.
    pub fn except(&self, text: &str, expires: Option<u64>) -> Result<Exception, Refused> {
        if text.len() > MAX_EXCEPTION_BYTES {
            let bytes = text.len();
            let why =
                format!("template has {bytes} bytes, the limit of an exception is {MAX_EXCEPTION_BYTES}");
            return Err(Refused::OverLimit(why));
        }
        let (id, now) = (TemplateId::of(text), self.shared.now_seconds());
        let text: Arc<str> = text.into();
        if !self.shared.templates().except(id, &text, expires, now) {
            let why = format!("there are {MAX_EXCEPTIONS} exceptions, which is the limit; delete some");
            return Err(Refused::OverLimit(why));
        }
        Ok(Exception { what: Excepted::Template { id, text }, expires })
    }

    /// Silences a rule until `expires` (Unix seconds; `None`: for ever), here and, by the advice, everywhere.
    ///
    /// # Errors
    /// If its name is empty or too long, or too many are silenced.
    pub async fn silence(&self, rule: &str, expires: Option<u64>) -> Result<Exception, Refused> {
        if rule.is_empty() || rule.len() > MAX_NAME_BYTES {
            let why = format!("rule has {} bytes, not within 1..={MAX_NAME_BYTES}", rule.len());
            return Err(Refused::OverLimit(why));
        }
        self.keep_feedback(|feedback| feedback.silence(rule, expires).map_err(Refused::OverLimit)).await?;
        Ok(Exception { what: Excepted::Rule(rule.to_owned()), expires })
    }

    /// Ends the exception of a template; it is looked up anew.
    ///
    /// # Errors
    /// If there is none.
    pub fn unexcept(&self, id: TemplateId) -> Result<(), Refused> {
        let now = self.shared.now_seconds();
        let ended = self.shared.templates().unexcept(id, now);
        ended.then_some(()).ok_or_else(|| Refused::Unknown(format!("template {id} is no exception")))
    }

    /// Ends the silence of a rule.
    ///
    /// # Errors
    /// If it is not silenced, or that cannot be saved.
    pub async fn unsilence(&self, rule: &str) -> Result<(), Refused> {
        let unknown = || {
            let rule: String = rule.chars().take(MAX_NAME_BYTES).collect();
            Refused::Unknown(format!("rule {} is not silenced", rule.escape_debug()))
        };
        self.keep_feedback(|feedback| feedback.silenced_rules.remove(rule).map(drop).ok_or_else(unknown))
            .await
    }

    /// All exceptions that hold: templates by id, then rules by name.
    pub fn exceptions(&self) -> Vec<Exception> {
        let now = self.shared.now_seconds();
        let mut exceptions = self.shared.templates().exceptions(now);
        let feedback = self.shared.feedback();
        let rules = feedback.silenced_rules.iter().filter(|(_, until)| **until == 0 || now < **until);
        exceptions.extend(rules.map(|(rule, until)| Exception {
            what: Excepted::Rule(rule.clone()),
            expires: (*until > 0).then_some(*until),
        }));
        exceptions
    }

    /// The most recent confirmed verdicts, newest first, at most `limit`.
    pub fn findings(&self, limit: usize) -> Vec<Finding> {
        self.shared.findings_kept().newest(limit)
    }
}

/// The template's text as the engine has it.
fn engine_text(engine: &mut oddline_engine::Engine, record: &Record<'_>) -> Arc<str> {
    let mut rows = engine.take_summary(UnixNanos(0)).templates;
    if let Some(row) = rows.pop() {
        return row.text.into();
    }
    let mut masked = Masked::default();
    masked.mask(&record.message);
    String::from_utf8_lossy(&masked.text).into()
}
