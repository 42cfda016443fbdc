//! Counts of events that only the daemon can judge, which the kernel leaves to it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use socktrace_diagnosis::{Finding, diagnose};
use socktrace_ebpf::{Event, Owned, Signature, TALLY_ENTRIES};

use crate::kernel::owned::Extent;

/// The daemon's own counts.
pub(crate) struct UserCounts {
    tallies: Mutex<UserTallies>,
    /// Extent of the counts by owner; `None` without them.
    extent: Option<Extent>,
}

#[derive(Default)]
pub(super) struct UserTallies {
    pub(super) signatures: BTreeMap<Signature, u64>,
    /// Events with signatures for which there was no room.
    pub(super) overflow: u64,
    pub(super) owned: BTreeMap<Owned, u64>,
    /// Failures of owners for which there was no room.
    pub(super) others: BTreeMap<Signature, u64>,
}

impl UserCounts {
    /// Creates empty counts; `extent` is that of the counts by owner, if failures are counted so.
    pub(super) fn new(extent: Option<Extent>) -> Self {
        Self { tallies: Mutex::default(), extent }
    }

    /// Counts an event that the kernel has left to the daemon, as the kernel would.
    pub(crate) fn add(&self, event: &Event) {
        let mut tallies = self.lock();
        tallies.count(event.signature.counted());
        let finding = diagnose(event.signature);
        let is_owned = matches!(finding, Finding::Failure(_) | Finding::Undelivered(_));
        if let Some(extent) = self.extent.filter(|_| is_owned) {
            tallies.count_owned(extent, event);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, UserTallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserTallies {
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
        let signature = signature.counted();
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
