//! Counts of what has happened, as exported and summed up.

mod progress;
mod user_counts;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use socktrace_diagnosis::{Cause, Finding, diagnose};
use socktrace_ebpf::{Counter, Owned, Signature};

pub(crate) use self::{
    progress::{SharedProgress, StreamProgress},
    user_counts::UserCounts,
};
use crate::{
    filter::Filter,
    kernel::{
        owned::{Extent, OwnedTallies},
        tally::Tallies,
    },
};

/// The kernel's exact counts: of everything, or of what passes a filter.
///
/// With a filter, the kernel leaves out what it can judge itself. What it cannot judge stays out of
/// its counts until the daemon has judged it.
pub(crate) struct Counts {
    tallies: Tallies,
    /// `None` if owners are not counted.
    owned: Option<Mutex<OwnedTallies>>,
    filtered: Option<(Arc<Filter>, Arc<UserCounts>)>,
}

/// Failures by owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnedCounts {
    pub(crate) owned: BTreeMap<Owned, u64>,
    /// Failures of owners for which there was no room.
    pub(crate) others: BTreeMap<Signature, u64>,
}

impl Counts {
    /// Creates counts of everything, or of what passes a filter if one is given.
    pub(crate) fn new(
        tallies: Tallies,
        owned: Option<(OwnedTallies, Extent)>,
        filter: Option<Arc<Filter>>,
    ) -> Self {
        let (owned, extent) = owned.unzip();
        let filtered = filter.map(|filter| (filter, Arc::new(UserCounts::new(extent))));
        Self { tallies, owned: owned.map(Mutex::new), filtered }
    }

    /// Counts of what the kernel leaves to the daemon; `None` if the kernel counts everything.
    pub(crate) fn user_counts(&self) -> Option<Arc<UserCounts>> {
        self.filtered.as_ref().map(|(_, user_counts)| Arc::clone(user_counts))
    }

    /// Number of occurrences of each signature.
    ///
    /// # Errors
    /// When the kernel's maps cannot be read.
    pub(crate) fn signatures(&self) -> anyhow::Result<BTreeMap<Signature, u64>> {
        let mut counts = self.tallies.signatures()?;
        if let Some((filter, user_counts)) = &self.filtered {
            for (signature, count) in &user_counts.lock().signatures {
                *counts.entry(*signature).or_default() += count;
            }
            counts.retain(|signature, _| filter.admits_signature(*signature));
        }
        Ok(counts)
    }

    /// Whether a signature would be counted.
    pub(crate) fn admits(&self, signature: Signature) -> bool {
        self.filtered.as_ref().is_none_or(|(filter, _)| filter.admits_signature(signature))
    }

    /// Number of failures by cause.
    ///
    /// # Errors
    /// As [`Self::signatures`].
    pub(crate) fn failures(&self) -> anyhow::Result<BTreeMap<Cause, u64>> {
        let mut causes = BTreeMap::new();
        for (signature, count) in self.signatures()? {
            if let Finding::Failure(found) = diagnose(signature) {
                *causes.entry(found.cause).or_default() += count;
            }
        }
        Ok(causes)
    }

    /// Number of failures of each owner; `None` if owners are not counted.
    ///
    /// # Errors
    /// As [`Self::signatures`].
    pub(crate) fn owned(&self) -> anyhow::Result<Option<OwnedCounts>> {
        let Some(tallies) = &self.owned else { return Ok(None) };
        let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = OwnedCounts { owned: tallies.owned()?, others: tallies.others()? };
        drop(tallies);
        if let Some((filter, user_counts)) = &self.filtered {
            let user_counts = user_counts.lock();
            for (owned, count) in &user_counts.owned {
                *counts.owned.entry(*owned).or_default() += count;
            }
            for (signature, count) in &user_counts.others {
                *counts.others.entry(*signature).or_default() += count;
            }
            counts.owned.retain(|owned, _| filter.admits_signature(owned.signature));
            counts.others.retain(|signature, _| filter.admits_signature(*signature));
        }
        Ok(Some(counts))
    }

    /// Removes the count of an owner that has gone, to make room for others. Returns whether that
    /// succeeded; if not, everything is still there.
    pub(crate) fn forget(&self, owned: &Owned) -> bool {
        if let Some(tallies) = &self.owned
            && !tallies.lock().unwrap_or_else(PoisonError::into_inner).forget(owned)
        {
            return false;
        }
        if let Some((_, user_counts)) = &self.filtered {
            user_counts.lock().owned.remove(owned);
        }
        true
    }

    /// One of the kernel programs' own counters.
    ///
    /// # Errors
    /// As [`Self::signatures`].
    pub(crate) fn counter(&self, counter: Counter) -> anyhow::Result<u64> {
        let of_kernel = self.tallies.counter(counter)?;
        match (counter, &self.filtered) {
            (Counter::TallyOverflow, Some((_, user_counts))) => {
                Ok(of_kernel + user_counts.lock().overflow)
            }
            _ => Ok(of_kernel),
        }
    }
}
