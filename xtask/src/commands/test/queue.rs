//! Boots waiting for a processor, longest first.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::boots::PlannedBoot;

/// Queue that one thread fills while others take from it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    boots: Vec<PlannedBoot>,
    is_complete: bool,
}

impl Queue {
    /// Adds boots.
    pub(super) fn add(&self, boots: Vec<PlannedBoot>) {
        self.lock().boots.extend(boots);
        self.changed.notify_all();
    }

    /// Marks the queue as complete: no boots will be added.
    pub(super) fn complete(&self) {
        self.lock().is_complete = true;
        self.changed.notify_all();
    }

    /// Takes the boot with the longest estimated duration. If none is queued, waits for one unless
    /// the queue is complete.
    pub(super) fn next(&self) -> Option<PlannedBoot> {
        let is_empty = |waiting: &mut Waiting| waiting.boots.is_empty() && !waiting.is_complete;
        let mut waiting =
            self.changed.wait_while(self.lock(), is_empty).unwrap_or_else(PoisonError::into_inner);
        let boots = waiting.boots.iter().enumerate();
        let (longest, _) = boots.max_by_key(|(_, planned)| planned.seconds)?;
        Some(waiting.boots.swap_remove(longest))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
