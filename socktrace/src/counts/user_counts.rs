//! Counts that the kernel side leaves to the daemon: of events that only the daemon can judge.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use socktrace_diagnosis::{Finding, diagnose};
use socktrace_ebpf::{Event, Owned, Signature, TALLY_ENTRIES};

use crate::kernel::owned::Extent;

/// Counts by the daemon itself.
pub(crate) struct UserCounts {
    tallies: Mutex<UserTallies>,
    /// How it counts by owner, if at all.
    extent: Option<Extent>,
}

#[derive(Default)]
pub(super) struct UserTallies {
    pub(super) signatures: BTreeMap<Signature, u64>,
    /// Of signatures for which there was no room.
    pub(super) overflow: u64,
    pub(super) owned: BTreeMap<Owned, u64>,
    /// Of owners for which there was no room.
    pub(super) others: BTreeMap<Signature, u64>,
}

impl UserCounts {
    /// None so far; `extent` says how failures are counted by owner, if at all.
    pub(super) fn new(extent: Option<Extent>) -> Self {
        Self { tallies: Mutex::default(), extent }
    }

    /// Counts an event that the kernel side has left to the daemon, as the kernel side would.
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
