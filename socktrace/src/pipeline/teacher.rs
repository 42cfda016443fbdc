//! Teaches the kernel side what only the daemon knows, so that it drops by itself what would not
//! pass here.

use std::collections::HashSet;

use socktrace_ebpf::{Criterion, criteria::VERDICT_ENTRIES};

use crate::kernel::filter::Verdicts;

/// Remembers what the kernel side has a verdict on.
pub(crate) struct Teacher {
    /// `None` where there is no kernel side, in tests.
    verdicts: Option<Verdicts>,
    taught: HashSet<Criterion>,
}

impl Teacher {
    pub(crate) fn new(verdicts: Option<Verdicts>) -> Self {
        Self { verdicts, taught: HashSet::new() }
    }

    /// Has the kernel side judge events of this kind by itself from now on.
    pub(super) fn teach(&mut self, criterion: Criterion, is_wanted: bool) {
        if self.taught.len() == VERDICT_ENTRIES {
            self.refresh();
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.teach(criterion, is_wanted);
            self.taught.insert(criterion);
        }
    }

    /// Has the kernel side ask again about everything.
    pub(super) fn refresh(&mut self) {
        for criterion in self.taught.drain() {
            if let Some(verdicts) = &mut self.verdicts {
                verdicts.forget(criterion);
            }
        }
    }
}
