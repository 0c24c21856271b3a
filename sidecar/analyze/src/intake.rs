//! The bounded queue before the costly path: one ticket per template however many records wait for it, taken out in
//! batches by size and age.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use oddline_engine::TemplateId;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use crate::{
    batch::{Screened, Standing},
    events::SkipCause,
};

/// What those who wait for a template get.
pub(crate) type Answer = Result<Standing, (SkipCause, Arc<str>)>;

/// A template on its way through the costly path. Dropped unanswered, it tells the waiting that analysis stopped.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) template: Screened,
    answer: watch::Sender<Option<Answer>>,
}

/// Waits for the answer on one template.
#[derive(Debug)]
pub(crate) struct Waiting(watch::Receiver<Option<Answer>>);

impl Waiting {
    /// The answer, or why there is none by `deadline`.
    pub(crate) async fn answer(mut self, deadline: Instant, limit: Duration) -> Answer {
        let answer = match timeout_at(deadline, self.0.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone(),
            Ok(Err(_)) => Some(Err((SkipCause::Stopped, "stopping".into()))),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| {
            Err((SkipCause::Deadline, format!("no answer within {}", words(limit)).into()))
        })
    }
}

/// The way in.
#[derive(Debug)]
pub(crate) struct Intake {
    queue: mpsc::Sender<Ticket>,
    /// Held for a few instructions. Entries leave with their answer, so there are at most as many as the queue and
    /// the batches in flight hold.
    waiting: Mutex<HashMap<TemplateId, watch::Receiver<Option<Answer>>>>,
}

impl Intake {
    pub(crate) fn new(capacity: usize) -> (Intake, mpsc::Receiver<Ticket>) {
        let (queue, tickets) = mpsc::channel(capacity);
        (Intake { queue, waiting: Mutex::default() }, tickets)
    }

    /// Joins those who wait for this template, or queues it. Gives whether it joined.
    pub(crate) fn wait_for(&self, template: Screened) -> Result<(Waiting, bool), (SkipCause, Arc<str>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A receiver whose ticket is gone without an answer is left over from a panic.
        if let Some(receiver) = waiting.get(&template.id).filter(|receiver| receiver.has_changed().is_ok()) {
            return Ok((Waiting(receiver.clone()), true));
        }
        let (answer, receiver) = watch::channel(None);
        let id = template.id;
        self.queue.try_send(Ticket { template, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                let words = format!("overloaded, {} templates are waiting", self.queue.max_capacity());
                (SkipCause::Overload, words.into())
            }
            mpsc::error::TrySendError::Closed(_) => (SkipCause::Stopped, "stopping".into()),
        })?;
        waiting.insert(id, receiver.clone());
        Ok((Waiting(receiver), false))
    }

    /// Answers all who wait for the ticket's template.
    pub(crate) fn answer(&self, ticket: &Ticket, answer: Answer) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.template.id);
        ticket.answer.send_replace(Some(answer));
    }

    /// Whether nobody waits for the ticket any more; then it is forgotten, and the next record queues a new one.
    pub(crate) fn is_abandoned(&self, ticket: &Ticket) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // The one receiver that is left is the one in `waiting`.
        let abandoned = ticket.answer.receiver_count() <= 1;
        if abandoned {
            waiting.remove(&ticket.template.id);
        }
        abandoned
    }

    /// Templates that wait in the queue now.
    pub(crate) fn depth(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// The next tickets: up to `size` of them, no later than `wait` after the first. `None`: nobody can queue any more.
pub(crate) async fn next_batch(
    tickets: &mut mpsc::Receiver<Ticket>,
    size: usize,
    wait: Duration,
) -> Option<Vec<Ticket>> {
    let mut batch = vec![tickets.recv().await?];
    let full_or_due = Instant::now() + wait;
    while batch.len() < size {
        match timeout_at(full_or_due, tickets.recv()).await {
            Ok(Some(ticket)) => batch.push(ticket),
            Ok(None) | Err(_) => break,
        }
    }
    Some(batch)
}

fn words(limit: Duration) -> String {
    match limit.as_millis() {
        millis if millis % 1_000 == 0 => format!("{} s", millis / 1_000),
        millis => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn template(number: u64) -> Screened {
        Screened { id: TemplateId(number), text: "text".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_one_ticket() {
        let (intake, mut tickets) = Intake::new(4);
        let (first, joined) = intake.wait_for(template(1)).unwrap();
        assert!(!joined);
        let (second, joined) = intake.wait_for(template(1)).unwrap();
        assert!(joined && intake.depth() == 1);
        let batch = next_batch(&mut tickets, 64, Duration::from_millis(5)).await.unwrap();
        assert_eq!(batch.len(), 1);
        intake.answer(&batch[0], Ok(Standing::Known));
        let deadline = Instant::now() + LIMIT;
        assert_eq!(first.answer(deadline, LIMIT).await, Ok(Standing::Known));
        assert_eq!(second.answer(deadline, LIMIT).await, Ok(Standing::Known));
        assert!(intake.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_one_over_its_capacity_and_says_so() {
        let (intake, _tickets) = Intake::new(4);
        let held: Vec<_> = (0..4).map(|number| intake.wait_for(template(number)).unwrap()).collect();
        for number in 4..40 {
            let (cause, words) = intake.wait_for(template(number)).unwrap_err();
            assert_eq!((cause, &*words), (SkipCause::Overload, "overloaded, 4 templates are waiting"));
        }
        assert_eq!(intake.waiting.lock().unwrap().len(), held.len(), "the refused leave nothing behind");
    }

    #[tokio::test(start_paused = true)]
    async fn batches_close_by_size_and_by_age() {
        let (intake, mut tickets) = Intake::new(100);
        let _held: Vec<_> = (0..65).map(|number| intake.wait_for(template(number)).unwrap()).collect();
        let started = Instant::now();
        assert_eq!(next_batch(&mut tickets, 64, Duration::from_millis(5)).await.unwrap().len(), 64);
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(next_batch(&mut tickets, 64, Duration::from_millis(5)).await.unwrap().len(), 1);
        assert!((5..7).contains(&started.elapsed().as_millis()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_costs_the_deadline_and_a_lost_ticket_nothing() {
        let (intake, mut tickets) = Intake::new(4);
        let (late, _) = intake.wait_for(template(1)).unwrap();
        let started = Instant::now();
        let (cause, words) = late.answer(started + LIMIT, LIMIT).await.unwrap_err();
        assert_eq!((cause, &*words), (SkipCause::Deadline, "no answer within 2 s"));
        let ticket = tickets.recv().await.unwrap();
        assert!(intake.is_abandoned(&ticket), "its only reader has gone");

        let (waiting, _) = intake.wait_for(template(2)).unwrap();
        drop(tickets);
        assert_eq!(waiting.answer(started + LIMIT * 2, LIMIT).await.unwrap_err().0, SkipCause::Stopped);
        assert_eq!(intake.wait_for(template(2)).unwrap_err().0, SkipCause::Stopped);
    }
}
