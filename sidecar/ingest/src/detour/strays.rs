//! Entries that nobody can read go back as they came, apart from the rest of their batch, so that a return input that
//! refuses them does not refuse the rest too. Knows what to make of a refusal, and no notation.

use tracing::warn;

use crate::{
    deliver::{Deliver, DeliverError, Failure, Outgoing},
    events::Events,
};

/// Those of one batch.
pub(super) struct Strays {
    tag: Vec<u8>,
    events: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Strays {
    /// None yet, to go out under a tag.
    pub(super) fn new(tag: Vec<u8>) -> Self {
        Strays { tag, events: Vec::new(), ends: Vec::new() }
    }

    /// One more.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.events);
        self.ends.push(self.events.len());
    }

    /// Sends them: together, and each by itself once they were refused together, for the others may be readable after
    /// all. What is refused is given up. `is_there`: the return input has just taken the rest of the batch.
    ///
    /// # Errors
    /// If it is not there: then their sender keeps them.
    pub(super) async fn send(
        self,
        deliver: &dyn Deliver,
        counts: &Events,
        is_there: bool,
    ) -> Result<(), DeliverError> {
        let Strays { tag, events, ends } = self;
        if ends.is_empty() {
            return Ok(());
        }
        let mut outgoing = Outgoing { tag, records: ends.len(), events };
        let Err(error) = deliver.deliver(&outgoing).await else { return Ok(()) };
        if !is_refusal(&error, is_there) {
            return Err(error);
        }
        // Silence may last long, and would last as long for each.
        if ends.len() == 1 || error.failure == Failure::Silent {
            give_up(&error, &outgoing, counts);
            return Ok(());
        }
        let events = std::mem::take(&mut outgoing.events);
        outgoing.records = 1;
        let mut start = 0;
        for end in ends {
            outgoing.events.clear();
            outgoing.events.extend_from_slice(events.get(start..end).unwrap_or_default());
            start = end;
            match deliver.deliver(&outgoing).await {
                Err(error) if is_refusal(&error, is_there) => give_up(&error, &outgoing, counts),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// Whether it does not want these, rather than anything. Where it hangs up instead of answering, that it took the rest of
/// the batch tells the two apart.
fn is_refusal(error: &DeliverError, is_there: bool) -> bool {
    match error.failure {
        Failure::Refused | Failure::Rejected => true,
        Failure::Silent => is_there,
        Failure::Away => false,
    }
}

fn give_up(error: &DeliverError, strays: &Outgoing, counts: &Events) {
    counts.entries_discarded.add(strays.records);
    let (entries, bytes) = (strays.records, strays.events.len());
    warn!(%error, entries, bytes, "entries that are no log events were refused and are given up");
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::Future, pin::Pin, sync::Mutex};

    use super::*;

    /// Answers in this order, then takes everything; remembers what it took.
    #[derive(Default)]
    struct Input {
        answers: Mutex<VecDeque<Option<Failure>>>,
        took: Mutex<Vec<String>>,
    }

    impl Deliver for Input {
        fn deliver<'a>(
            &'a self,
            outgoing: &'a Outgoing,
        ) -> Pin<Box<dyn Future<Output = Result<(), DeliverError>> + Send + 'a>> {
            let answer = self.answers.lock().unwrap().pop_front().flatten();
            Box::pin(async move {
                if let Some(failure) = answer {
                    return Err(DeliverError { address: "input".into(), reason: "no".into(), failure });
                }
                self.took.lock().unwrap().push(String::from_utf8(outgoing.events.clone()).unwrap());
                Ok(())
            })
        }
    }

    /// Whether all is settled, what arrived, and how many were given up.
    async fn check(
        strays: &[&str],
        is_there: bool,
        answers: &[Option<Failure>],
        expected: (bool, &[&str], u64),
    ) {
        let input = Input { answers: Mutex::new(answers.iter().copied().collect()), ..Input::default() };
        let (counts, mut sent) = (Events::default(), Strays::new(b"app".to_vec()));
        strays.iter().for_each(|stray| sent.push(|out| out.extend_from_slice(stray.as_bytes())));
        let is_settled = sent.send(&input, &counts, is_there).await.is_ok();
        let took = input.took.lock().unwrap();
        let took: Vec<&str> = took.iter().map(String::as_str).collect();
        assert_eq!((is_settled, &*took, counts.entries_discarded.get()), expected, "{strays:?} {answers:?}");
    }

    #[tokio::test]
    async fn one_that_is_refused_alone_is_given_up_and_one_that_meets_nobody_is_not() {
        use Failure::{Away, Refused, Rejected, Silent};
        check(&[], false, &[Some(Refused)], (true, &[], 0)).await;
        check(&["a"], false, &[], (true, &["a"], 0)).await;
        for failure in [Refused, Rejected] {
            check(&["a"], false, &[Some(failure)], (true, &[], 1)).await;
        }
        for is_there in [false, true] {
            check(&["a"], is_there, &[Some(Away)], (false, &[], 0)).await;
            check(&["a"], is_there, &[Some(Silent)], (is_there, &[], u64::from(is_there))).await;
        }
        check(&["a", "b"], true, &[Some(Silent)], (true, &[], 2)).await;
    }

    #[tokio::test]
    async fn those_that_are_refused_together_go_one_by_one() {
        use Failure::{Away, Refused};
        let refused = Some(Refused);
        check(&["a", "b", "c"], false, &[refused, None, refused, None], (true, &["a", "c"], 1)).await;
        check(&["a", "b", "c"], false, &[refused, refused, Some(Away)], (false, &[], 1)).await;
    }
}
