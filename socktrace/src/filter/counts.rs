//! How often what has happened, as it is exported and summed up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use socktrace_ebpf::{Counter, Signature, TALLY_ENTRIES};

use super::Filter;
use crate::kernel::tally::Tallies;

/// The kernel side's exact counts: of everything, or of what passes a filter.
///
/// With a filter the kernel side leaves out what it can judge itself, and keeps what it cannot out of
/// its counts until the daemon has judged it.
pub(crate) struct Counts {
    tallies: Tallies,
    filtered: Option<(Arc<Filter>, Arc<Judged>)>,
}

/// What the daemon itself has counted.
#[derive(Default)]
pub(crate) struct Judged(Mutex<Own>);

#[derive(Default)]
struct Own {
    signatures: BTreeMap<Signature, u64>,
    /// Of signatures for which there was no room.
    overflow: u64,
}

impl Judged {
    /// Counts an event that the kernel side has left to the daemon.
    pub(super) fn add(&self, signature: Signature) {
        let mut own = self.lock();
        if own.signatures.len() == TALLY_ENTRIES && !own.signatures.contains_key(&signature) {
            own.overflow += 1;
        } else {
            *own.signatures.entry(signature).or_default() += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts of everything; of what passes a filter where one is given.
    pub(crate) fn new(tallies: Tallies, filter: Option<Arc<Filter>>) -> Self {
        Self { tallies, filtered: filter.map(|filter| (filter, Arc::default())) }
    }

    /// Where to count what the kernel side leaves to the daemon; `None` when it counts everything.
    pub(crate) fn judged(&self) -> Option<Arc<Judged>> {
        self.filtered.as_ref().map(|(_, judged)| Arc::clone(judged))
    }

    /// How often each signature has occurred.
    ///
    /// # Errors
    /// When the kernel's maps cannot be read.
    pub(crate) fn signatures(&self) -> anyhow::Result<BTreeMap<Signature, u64>> {
        let mut counts = self.tallies.signatures()?;
        if let Some((filter, judged)) = &self.filtered {
            for (signature, count) in &judged.lock().signatures {
                *counts.entry(*signature).or_default() += count;
            }
            counts.retain(|signature, _| filter.admits_signature(*signature));
        }
        Ok(counts)
    }

    /// One of the kernel side's counters of its own.
    ///
    /// # Errors
    /// As [`Self::signatures`].
    pub(crate) fn counter(&self, counter: Counter) -> anyhow::Result<u64> {
        let of_kernel = self.tallies.counter(counter)?;
        match (counter, &self.filtered) {
            (Counter::TallyOverflow, Some((_, judged))) => Ok(of_kernel + judged.lock().overflow),
            _ => Ok(of_kernel),
        }
    }
}
