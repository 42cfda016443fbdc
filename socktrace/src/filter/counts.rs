//! How often what has happened, as it is exported and summed up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use socktrace_diagnosis::{Finding, diagnose};
use socktrace_ebpf::{Counter, Event, Owned, Signature, TALLY_ENTRIES};

use super::Filter;
use crate::kernel::{
    owned::{Extent, OwnedTallies},
    tally::Tallies,
};

/// The kernel side's exact counts: of everything, or of what passes a filter.
///
/// With a filter the kernel side leaves out what it can judge itself, and keeps what it cannot out of
/// its counts until the daemon has judged it.
pub(crate) struct Counts {
    tallies: Tallies,
    /// `None` where owners are not counted.
    owned: Option<Mutex<OwnedTallies>>,
    filtered: Option<(Arc<Filter>, Arc<Judged>)>,
}

/// What the daemon itself has counted.
pub(crate) struct Judged {
    own: Mutex<Own>,
    /// How it counts by owner, if at all.
    extent: Option<Extent>,
}

#[derive(Default)]
struct Own {
    signatures: BTreeMap<Signature, u64>,
    /// Of signatures for which there was no room.
    overflow: u64,
    owned: BTreeMap<Owned, u64>,
    /// Of owners for which there was no room.
    others: BTreeMap<Signature, u64>,
}

/// Failures by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnedCounts {
    pub(crate) owned: BTreeMap<Owned, u64>,
    /// Of owners for which there was no room.
    pub(crate) others: BTreeMap<Signature, u64>,
}

impl Judged {
    /// Counts an event that the kernel side has left to the daemon, as the kernel side would.
    pub(super) fn add(&self, event: &Event) {
        let mut own = self.lock();
        own.count(event.signature);
        let is_failure = matches!(diagnose(event.signature), Finding::Failure(_));
        if let Some(extent) = self.extent.filter(|_| is_failure) {
            own.count_owned(extent, event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    fn count(&mut self, signature: Signature) {
        if self.signatures.len() == TALLY_ENTRIES && !self.signatures.contains_key(&signature) {
            self.overflow += 1;
        } else {
            *self.signatures.entry(signature).or_default() += 1;
        }
    }

    fn count_owned(&mut self, extent: Extent, event: &Event) {
        let Event { signature, role, local_port, remote_port, .. } = *event;
        let service_port =
            if extent.ports { signature.service_port(role, local_port, remote_port) } else { 0 };
        let owned =
            Owned { cgroup_id: event.cgroup_id, signature, service_port, ..Owned::default() };
        if self.owned.len() < extent.entries as usize || self.owned.contains_key(&owned) {
            *self.owned.entry(owned).or_default() += 1;
        } else if self.others.len() < TALLY_ENTRIES || self.others.contains_key(&signature) {
            *self.others.entry(signature).or_default() += 1;
        } else {
            self.overflow += 1;
        }
    }
}

impl Counts {
    /// Counts of everything; of what passes a filter where one is given.
    pub(crate) fn new(
        tallies: Tallies,
        owned: Option<(OwnedTallies, Extent)>,
        filter: Option<Arc<Filter>>,
    ) -> Self {
        let (owned, extent) = owned.unzip();
        let judged = || Arc::new(Judged { own: Mutex::default(), extent });
        let filtered = filter.map(|filter| (filter, judged()));
        Self { tallies, owned: owned.map(Mutex::new), filtered }
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

    /// How often each owner's failures have occurred; `None` where owners are not counted.
    ///
    /// # Errors
    /// As [`Self::signatures`].
    pub(crate) fn owned(&self) -> anyhow::Result<Option<OwnedCounts>> {
        let Some(tallies) = &self.owned else { return Ok(None) };
        let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = OwnedCounts { owned: tallies.owned()?, others: tallies.others()? };
        drop(tallies);
        if let Some((filter, judged)) = &self.filtered {
            let judged = judged.lock();
            for (owned, count) in &judged.owned {
                *counts.owned.entry(*owned).or_default() += count;
            }
            for (signature, count) in &judged.others {
                *counts.others.entry(*signature).or_default() += count;
            }
            counts.owned.retain(|owned, _| filter.admits_signature(owned.signature));
            counts.others.retain(|signature, _| filter.admits_signature(*signature));
        }
        Ok(Some(counts))
    }

    /// Forgets what was counted of an owner that has gone, to make room for others.
    pub(crate) fn forget(&self, owned: &Owned) {
        if let Some(tallies) = &self.owned {
            tallies.lock().unwrap_or_else(PoisonError::into_inner).forget(owned);
        }
        if let Some((_, judged)) = &self.filtered {
            judged.lock().owned.remove(owned);
        }
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
