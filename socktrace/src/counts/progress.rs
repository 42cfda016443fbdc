//! Progress of the stream, for others to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Progress of the stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamProgress {
    /// Events shown one by one.
    pub(crate) shown: u64,
    /// Events shown only by their number, in floods.
    pub(crate) repeated: u64,
    /// Events received but not shown: the reader was slow, or the disk full.
    pub(crate) dropped: u64,
}

/// Progress that the stream updates, and scrapes read.
#[derive(Debug, Default)]
pub(crate) struct SharedProgress {
    shown: AtomicU64,
    repeated: AtomicU64,
    dropped: AtomicU64,
}

impl SharedProgress {
    /// Records the progress of the stream.
    pub(crate) fn note(&self, progress: StreamProgress) {
        let StreamProgress { shown, repeated, dropped } = progress;
        self.shown.store(shown, Ordering::Relaxed);
        self.repeated.store(repeated, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
    }

    /// Last recorded progress.
    pub(crate) fn stream(&self) -> StreamProgress {
        StreamProgress {
            shown: self.shown.load(Ordering::Relaxed),
            repeated: self.repeated.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
