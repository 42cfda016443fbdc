//! How far the stream has come, for others to read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::snapshot::Stream;

/// Numbers that the stream writes, and scrapes read.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    shown: AtomicU64,
    dropped: AtomicU64,
}

impl Progress {
    /// Notes how many events were shown, and how many were received and not shown.
    pub(crate) fn note(&self, Stream { shown, dropped }: Stream) {
        self.shown.store(shown, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
    }

    /// What was noted last.
    pub(crate) fn stream(&self) -> Stream {
        Stream {
            shown: self.shown.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}
