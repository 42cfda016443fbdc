//! Teaches the kernel side what only the daemon knows, so that it drops by itself what would not
//! pass here.

use std::collections::HashSet;

use socktrace_ebpf::{Criterion, EventKind, Signature, criteria::VERDICT_ENTRIES};

use crate::kernel::filter::Verdicts;

/// Remembers what the kernel side has a verdict on.
pub(crate) struct Teacher {
    /// `None` where there is no kernel side, in tests.
    verdicts: Option<Verdicts>,
    taught: HashSet<Criterion>,
    /// Verdicts that it has from the beginning, and keeps.
    standing: Vec<(Criterion, bool)>,
}

impl Teacher {
    pub(crate) fn new(verdicts: Option<Verdicts>) -> Self {
        Self { verdicts, taught: HashSet::new(), standing: Vec::new() }
    }

    /// Makes the kernel side judge events of this kind from now on.
    pub(super) fn teach(&mut self, criterion: Criterion, is_wanted: bool) {
        if self.taught.len() == VERDICT_ENTRIES {
            self.refresh();
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.teach(criterion, is_wanted);
            self.taught.insert(criterion);
        }
    }

    /// Sets in the kernel side beforehand whether events of a kind are wanted that are in no count of
    /// failures: else each would take room in the ring buffer until one has come up, and count as lost
    /// where there is none.
    pub(super) fn settle(&mut self, kind: EventKind, is_wanted: bool) {
        let kind = Signature { kind: kind as u8, ..Signature::default() };
        self.standing = vec![(Criterion::signature(&kind), is_wanted)];
        self.refresh();
    }

    /// Removes all other verdicts from the kernel side.
    pub(super) fn refresh(&mut self) {
        for criterion in self.taught.drain() {
            if let Some(verdicts) = &mut self.verdicts {
                verdicts.forget(criterion);
            }
        }
        if let Some(verdicts) = &mut self.verdicts {
            for (criterion, is_wanted) in &self.standing {
                verdicts.teach(*criterion, *is_wanted);
            }
        }
    }
}
