//! Verdicts that the daemon hands down, so that kernel programs drop unwanted events themselves.

use std::collections::HashSet;

use socktrace_ebpf::{Criterion, EventKind, Signature, criteria::VERDICT_ENTRIES};

use crate::kernel::filter::Verdicts;

/// Tracks which verdicts are in the kernel's map.
pub(crate) struct VerdictCache {
    /// `None` where there is no kernel side, in tests.
    verdicts: Option<Verdicts>,
    cached: HashSet<Criterion>,
    /// Verdicts that are set at the start and stay.
    standing: Vec<(Criterion, bool)>,
}

impl VerdictCache {
    pub(crate) fn new(verdicts: Option<Verdicts>) -> Self {
        Self { verdicts, cached: HashSet::new(), standing: Vec::new() }
    }

    /// Lets kernel programs pass or drop events of this kind from now on.
    pub(super) fn set(&mut self, criterion: Criterion, is_wanted: bool) {
        if self.cached.len() == VERDICT_ENTRIES {
            self.refresh();
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.set(criterion, is_wanted);
            self.cached.insert(criterion);
        }
    }

    /// Sets the standing verdict on a kind of event that is not counted as a failure. Without one, events
    /// of that kind take room in the ring buffer until the first has come up, and count as lost where
    /// there is no room.
    pub(super) fn set_standing(&mut self, kind: EventKind, is_wanted: bool) {
        let kind = Signature { kind: kind as u8, ..Signature::default() };
        self.standing = vec![(Criterion::signature(&kind), is_wanted)];
        self.refresh();
    }

    /// Removes all verdicts but the standing ones.
    pub(super) fn refresh(&mut self) {
        for criterion in self.cached.drain() {
            if let Some(verdicts) = &mut self.verdicts {
                verdicts.remove(criterion);
            }
        }
        if let Some(verdicts) = &mut self.verdicts {
            for (criterion, is_wanted) in &self.standing {
                verdicts.set(*criterion, *is_wanted);
            }
        }
    }
}
