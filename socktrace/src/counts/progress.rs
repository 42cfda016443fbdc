//! How far the stream has come, for others to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the stream came to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamProgress {
    /// Events shown.
    pub(crate) shown: u64,
    /// Events that were received and not shown: the reader was slow, or the disk full.
    pub(crate) dropped: u64,
}

/// Numbers that the stream writes, and scrapes read.
#[derive(Debug, Default)]
pub(crate) struct SharedProgress {
    shown: AtomicU64,
    dropped: AtomicU64,
}

impl SharedProgress {
    /// Notes how far the stream has come.
    pub(crate) fn note(&self, StreamProgress { shown, dropped }: StreamProgress) {
        self.shown.store(shown, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
    }

    /// What was noted last.
    pub(crate) fn stream(&self) -> StreamProgress {
        StreamProgress {
            shown: self.shown.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
