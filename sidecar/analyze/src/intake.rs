//! The bounded queue before the costly path: one ticket per template however many records wait for it, taken out in
//! batches by size and age. Sources share it fairly: in places, and in turn. What nobody waits for any more is put off
//! until nothing else is there.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use oddline_engine::TemplateId;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{
    batch::{Screened, Standing},
    events::SkipCause,
};

use self::later::Later;

mod later;

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
        answer.unwrap_or_else(|| Err(late(limit)))
    }
}

/// Why a record whose time is over has no answer.
pub(crate) fn late(limit: Duration) -> (SkipCause, Arc<str>) {
    (SkipCause::Deadline, format!("no answer within {}", words(limit)).into())
}

/// The way in.
#[derive(Debug)]
pub(crate) struct Intake {
    queue: Arc<Queue>,
    /// Held for a few instructions. Entries leave with their answer, so there are at most as many as the queue and
    /// the batches in flight hold.
    waiting: Mutex<HashMap<TemplateId, watch::Receiver<Option<Answer>>>>,
}

/// The way out, for one taker; dropped, it closes the queue, and whoever still waits is told so.
#[derive(Debug)]
pub(crate) struct Tickets(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    capacity: usize,
    /// Held for a few instructions.
    lanes: Mutex<Lanes>,
    /// Something was queued.
    news: Notify,
    /// Held for a few instructions.
    later: Mutex<Later>,
    /// Something was put off, or nobody is queued any more.
    idle: Notify,
}

/// A lane for each source with something in it. They are served in turn, so that none waits behind the length of
/// another's.
#[derive(Debug, Default)]
struct Lanes {
    lanes: HashMap<Arc<str>, VecDeque<Ticket>>,
    turn: VecDeque<Arc<str>>,
    len: usize,
    is_closed: bool,
}

impl Lanes {
    /// Room for one more of a source, or why there is none. A source may have as many waiting as there are places free:
    /// alone it gets half of them, beside others like it an equal share, and some are always left for whoever comes next.
    fn admit(&self, source: &str, capacity: usize) -> Result<(), (SkipCause, Arc<str>)> {
        if self.is_closed {
            return Err((SkipCause::Stopped, "stopping".into()));
        }
        let free = capacity.saturating_sub(self.len);
        if free == 0 {
            return Err((
                SkipCause::Overload,
                format!("overloaded, {capacity} templates are waiting").into(),
            ));
        }
        let own = self.lanes.get(source).map_or(0, VecDeque::len);
        if own >= free {
            let words = format!("overloaded, {own} templates of this source are waiting");
            return Err((SkipCause::Share, words.into()));
        }
        Ok(())
    }

    fn push(&mut self, source: &Arc<str>, ticket: Ticket) {
        let lane = self.lanes.entry(source.clone()).or_insert_with(|| {
            self.turn.push_back(source.clone());
            VecDeque::new()
        });
        lane.push_back(ticket);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Ticket> {
        let source = self.turn.pop_front()?;
        let lane = self.lanes.get_mut(&source)?;
        let ticket = lane.pop_front();
        if lane.is_empty() {
            self.lanes.remove(&source);
        } else {
            self.turn.push_back(source);
        }
        self.len -= usize::from(ticket.is_some());
        ticket
    }
}

impl Queue {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self) -> MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tickets {
    /// The next one, whenever it comes.
    async fn next(&self) -> Ticket {
        loop {
            if let Some(ticket) = self.pop() {
                return ticket;
            }
            // Whatever is queued from here on leaves a permit.
            self.0.news.notified().await;
        }
    }

    fn pop(&self) -> Option<Ticket> {
        let mut lanes = self.0.lanes();
        let ticket = lanes.pop();
        if lanes.len == 0 {
            self.0.idle.notify_one();
        }
        ticket
    }

    /// Until one is queued.
    pub(crate) async fn queued(&self) {
        while self.0.lanes().len == 0 {
            self.0.news.notified().await;
        }
    }

    /// Up to `size` of those put off, as soon as nobody is queued.
    pub(crate) async fn next_put_off(&self, size: usize) -> Vec<Ticket> {
        loop {
            let is_idle = self.0.lanes().len == 0;
            let templates = if is_idle { self.0.later().take(size) } else { Vec::new() };
            if !templates.is_empty() {
                let ticket = |template| Ticket { template, answer: watch::channel(None).0 };
                return templates.into_iter().map(ticket).collect();
            }
            self.0.idle.notified().await;
        }
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *self.0.lanes(), Lanes { is_closed: true, ..Lanes::default() });
        drop(left);
    }
}

impl Intake {
    pub(crate) fn new(capacity: usize) -> (Intake, Tickets) {
        let queue = Arc::new(Queue {
            capacity,
            lanes: Mutex::default(),
            news: Notify::new(),
            later: Mutex::new(Later::new(capacity)),
            idle: Notify::new(),
        });
        (Intake { queue: queue.clone(), waiting: Mutex::default() }, Tickets(queue))
    }

    /// Joins those who wait for this template, or queues it for a source. Gives whether it joined.
    pub(crate) fn wait_for(
        &self,
        template: Screened,
        source: &Arc<str>,
    ) -> Result<(Waiting, bool), (SkipCause, Arc<str>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A receiver whose ticket is gone without an answer is left over from a panic.
        if let Some(receiver) = waiting.get(&template.id).filter(|receiver| receiver.has_changed().is_ok()) {
            return Ok((Waiting(receiver.clone()), true));
        }
        let (answer, receiver) = watch::channel(None);
        let id = template.id;
        let mut lanes = self.queue.lanes();
        lanes.admit(source, self.queue.capacity)?;
        lanes.push(source, Ticket { template, answer });
        drop(lanes);
        self.queue.news.notify_one();
        waiting.insert(id, receiver.clone());
        Ok((Waiting(receiver), false))
    }

    /// Queues a template that nobody waits for, for when nothing else is there: the next record finds it in memory.
    pub(crate) fn put_off(&self, template: Screened) {
        self.queue.later().push(template);
        self.queue.idle.notify_one();
    }

    /// Answers all who wait for the ticket's template.
    pub(crate) fn answer(&self, ticket: &Ticket, answer: Answer) {
        // What was put off has nobody in `waiting`: who stands there has a ticket of his own.
        if ticket.answer.receiver_count() > 0 {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.template.id);
        }
        ticket.answer.send_replace(Some(answer));
    }

    /// Whether nobody waits for the ticket any more; then the next record queues a new one.
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
        self.queue.lanes().len
    }

    /// Templates put off.
    pub(crate) fn put_off_depth(&self) -> usize {
        self.queue.later().len()
    }
}

/// The next tickets: up to `size` of them, no later than `wait` after the first.
pub(crate) async fn next_batch(tickets: &Tickets, size: usize, wait: Duration) -> Vec<Ticket> {
    let mut batch = vec![tickets.next().await];
    let full_or_due = Instant::now() + wait;
    while batch.len() < size {
        match timeout_at(full_or_due, tickets.next()).await {
            Ok(ticket) => batch.push(ticket),
            Err(_) => break,
        }
    }
    batch
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

    type Queued = Result<(Waiting, bool), (SkipCause, Arc<str>)>;

    fn queue(intake: &Intake, number: u64, source: &str) -> Queued {
        intake.wait_for(template(number), &source.into())
    }

    /// Queues so many; gives what was taken.
    fn fill(intake: &Intake, numbers: std::ops::Range<u64>, source: &str) -> Vec<Waiting> {
        numbers.filter_map(|number| Some(queue(intake, number, source).ok()?.0)).collect()
    }

    async fn batch(tickets: &Tickets) -> Vec<u64> {
        let batch = next_batch(tickets, 64, Duration::from_millis(5)).await;
        batch.iter().map(|ticket| ticket.template.id.0).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_one_ticket() {
        let (intake, tickets) = Intake::new(4);
        let (first, joined) = queue(&intake, 1, "a").unwrap();
        assert!(!joined);
        let (second, joined) = queue(&intake, 1, "b").unwrap();
        assert!(joined && intake.depth() == 1);
        let batch = next_batch(&tickets, 64, Duration::from_millis(5)).await;
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
        let held: Vec<_> =
            (0..4).map(|number| queue(&intake, number, &format!("source {number}")).unwrap()).collect();
        for number in 4..40 {
            let (cause, words) = queue(&intake, number, &format!("source {number}")).unwrap_err();
            assert_eq!((cause, &*words), (SkipCause::Overload, "overloaded, 4 templates are waiting"));
        }
        assert_eq!(intake.waiting.lock().unwrap().len(), held.len(), "the refused leave nothing behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_has_its_share_at_the_limit_one_over_and_ten_times() {
        let (intake, _tickets) = Intake::new(100);
        assert_eq!(fill(&intake, 0..50, "noisy").len(), 50);
        for number in 50..1_000 {
            let (cause, words) = queue(&intake, number, "noisy").unwrap_err();
            assert_eq!(
                (cause, &*words),
                (SkipCause::Share, "overloaded, 50 templates of this source are waiting")
            );
        }
        // Each further noisy one halves what is left, and there is always something left.
        assert_eq!(fill(&intake, 1_000..2_000, "second").len(), 25);
        assert_eq!(fill(&intake, 2_000..3_000, "third").len(), 13);
        assert!(queue(&intake, 3_000, "quiet").is_ok());
        assert_eq!(intake.waiting.lock().unwrap().len(), intake.depth());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_behind_the_length_of_anothers_lane() {
        let (intake, tickets) = Intake::new(10_000);
        let _noise = fill(&intake, 0..5_000, "noisy");
        let _rest = fill(&intake, 5_000..5_003, "quiet");
        let taken = batch(&tickets).await;
        assert_eq!(taken[..6], [0, 5_000, 1, 5_001, 2, 5_002], "in turn");
        assert_eq!((taken.len(), intake.depth()), (64, 5_003 - 64));
        let mut left = 5_003 - 64;
        while left > 0 {
            left -= batch(&tickets).await.len();
        }
        let lanes = intake.queue.lanes();
        assert!(lanes.lanes.is_empty() && lanes.turn.is_empty() && lanes.len == 0, "empty lanes are gone");
    }

    #[tokio::test(start_paused = true)]
    async fn batches_close_by_size_and_by_age() {
        let (intake, tickets) = Intake::new(200);
        let _held = fill(&intake, 0..65, "a");
        let started = Instant::now();
        assert_eq!(batch(&tickets).await.len(), 64);
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(batch(&tickets).await.len(), 1);
        assert!((5..7).contains(&started.elapsed().as_millis()));
        // And it wakes for what comes later.
        let later = async {
            tokio::time::advance(Duration::from_secs(1)).await;
            fill(&intake, 70..72, "a")
        };
        assert_eq!(tokio::join!(batch(&tickets), later).0, [70, 71]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_costs_the_deadline_and_a_lost_ticket_nothing() {
        let (intake, tickets) = Intake::new(4);
        let (late, _) = queue(&intake, 1, "a").unwrap();
        let started = Instant::now();
        let (cause, words) = late.answer(started + LIMIT, LIMIT).await.unwrap_err();
        assert_eq!((cause, &*words), (SkipCause::Deadline, "no answer within 2 s"));
        let ticket = tickets.next().await;
        assert!(intake.is_abandoned(&ticket), "its only reader has gone");

        let (waiting, _) = queue(&intake, 2, "a").unwrap();
        drop(tickets);
        assert_eq!(waiting.answer(started + LIMIT * 2, LIMIT).await.unwrap_err().0, SkipCause::Stopped);
        assert_eq!(queue(&intake, 2, "a").unwrap_err().0, SkipCause::Stopped);
    }
}
