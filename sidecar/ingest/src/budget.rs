//! The bytes in flight over all connections: takes sizes, gives permits, makes readers wait. Knows no protocol.
//!
//! Two stages, taken in one order, so that waiting can never become a deadlock: a frame takes its own bytes first and
//! what it becomes (expanded, rewritten) second; whoever holds the second needs nothing more to finish. Each stage is
//! taken in one piece, never bit by bit. Lessons, and answers that a slow client has not read yet, are kept for minutes, so
//! they stay away from the second stage, wait for nothing, and have a part of the first at most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB, as a semaphore takes at most `u32` of them at once.
const UNIT: usize = 1 << 10;

/// The one budget of a sidecar; clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    frames: Stage,
    expanded: Stage,
    /// How much of the frames' stage lessons and answers may have.
    lessons: Stage,
}

#[derive(Clone, Debug)]
struct Stage {
    semaphore: Arc<Semaphore>,
    units: u32,
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: OwnedSemaphorePermit,
    /// The same again of the lessons' part.
    lesson: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of so many bytes: two thirds for frames as they come, one third for what they become.
    pub fn new(bytes: usize) -> Self {
        let third = bytes / 3;
        let (frames, expanded) = (Stage::new(bytes - third), Stage::new(third));
        Budget { frames, expanded, lessons: Stage::new(third) }
    }

    /// Waits until a frame of so many bytes may be held.
    pub async fn frame(&self, bytes: usize) -> Held {
        self.frames.take(bytes).await
    }

    /// Waits until so many bytes may be made from a frame that is held.
    pub async fn expansion(&self, bytes: usize) -> Held {
        self.expanded.take(bytes).await
    }

    /// A frame's bytes if they are free now.
    pub fn try_frame(&self, bytes: usize) -> Option<Held> {
        Some(Held { bytes: self.frames.try_take(bytes)?, lesson: None })
    }

    /// A lesson's or an answer's bytes if they are free now: half of the frames' stage serves everybody else in any case.
    pub fn try_lesson(&self, bytes: usize) -> Option<Held> {
        let lesson = self.lessons.try_take(bytes)?;
        Some(Held { bytes: self.frames.try_take(bytes.min(self.lessons.bytes()))?, lesson: Some(lesson) })
    }

    /// Bytes that are free now, in both stages.
    pub fn free(&self) -> usize {
        (self.frames.semaphore.available_permits() + self.expanded.semaphore.available_permits()) * UNIT
    }
}

impl Stage {
    fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Stage { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }

    fn bytes(&self) -> usize {
        self.units as usize * UNIT
    }

    async fn take(&self, bytes: usize) -> Held {
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(self.units_of(bytes)).await;
        Held { bytes: permit.expect("the semaphore is never closed"), lesson: None }
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.semaphore).try_acquire_many_owned(self.units_of(bytes)).ok()
    }
}

impl Held {
    /// Gives back what is held beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        for permit in [Some(&mut self.bytes), self.lesson.as_mut()].into_iter().flatten() {
            let surplus = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT).max(1));
            drop(permit.split(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_makes_the_next_wait_until_something_is_given_back() {
        let budget = Budget::new(96 << 10);
        let mut first = budget.frame(64 << 10).await;
        assert!(timeout(Duration::from_secs(5), budget.frame(1)).await.is_err());
        assert!(budget.try_frame(1).is_none());
        first.shrink(63 << 10);
        let _second = timeout(Duration::from_secs(5), budget.frame(1)).await.unwrap();
        // The second stage is another pot: a frame that is held can always finish.
        let _third = timeout(Duration::from_secs(5), budget.expansion(32 << 10)).await.unwrap();
        assert_eq!(budget.free(), 0);
    }

    #[test]
    fn lessons_wait_for_nothing_and_leave_half_of_the_frames_and_all_that_these_become() {
        let budget = Budget::new(96 << 10);
        let mut lesson = budget.try_lesson(usize::MAX).unwrap();
        assert_eq!(budget.free(), 64 << 10);
        assert!(budget.try_lesson(1).is_none() && budget.try_frame(32 << 10).is_some());
        lesson.shrink(31 << 10);
        assert!(budget.try_lesson(1 << 10).is_some());
        drop(lesson);
        let _frames = budget.try_frame(usize::MAX).unwrap();
        assert!(budget.try_lesson(1).is_none());
        assert_eq!(budget.free(), 32 << 10);
    }

    #[tokio::test]
    async fn more_than_everything_is_everything() {
        let budget = Budget::new(96 << 10);
        let held = budget.frame(usize::MAX).await;
        drop(held);
        assert_eq!(budget.free(), 96 << 10);
    }
}
