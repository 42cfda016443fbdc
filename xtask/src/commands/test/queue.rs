//! Boots that wait for a processor, longest first.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::boots::PlannedBoot;

/// Filled by one thread and emptied by others meanwhile.
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

    /// Says that no more will be added.
    pub(super) fn complete(&self) {
        self.lock().is_complete = true;
        self.changed.notify_all();
    }

    /// Takes the boot that is going to take longest of those that are there, and waits for one if
    /// more are to come.
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
