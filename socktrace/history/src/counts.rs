//! Counts of lines, written by queue and keeper, read by scrapes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Reason for dropping lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue was full because the disk is slow.
    QueueFull,
    /// The file could not be written: the disk is full or fails, or another process keeps the
    /// history.
    Unwritable,
    /// The daemon exited before the lines were written.
    Ended,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::Unwritable, Self::Ended];

    /// Value of the metric's label.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unwritable => "unwritable",
            Self::Ended => "ended",
        }
    }
}

/// Counts up to now.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    file_bytes: AtomicU64,
    queued_bytes: AtomicU64,
}

/// Snapshot of the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Lines written to the file since the start.
    pub written: u64,
    /// Dropped lines, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Size of the file and its write-ahead log.
    pub file_bytes: u64,
    /// Memory used by queued lines.
    pub queued_bytes: u64,
}

impl Counts {
    /// Takes a snapshot.
    #[must_use]
    pub fn read(&self) -> Numbers {
        Numbers {
            written: self.written.load(Relaxed),
            dropped: [0, 1, 2].map(|reason: usize| self.dropped[reason].load(Relaxed)),
            file_bytes: self.file_bytes.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
        }
    }

    pub(crate) fn add_written(&self, count: u64) {
        self.written.fetch_add(count, Relaxed);
    }

    pub(crate) fn add_dropped(&self, why: Dropped, count: u64) {
        self.dropped[why as usize].fetch_add(count, Relaxed);
    }

    pub(crate) fn set_file(&self, bytes: u64) {
        self.file_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn set_queued(&self, bytes: usize) {
        self.queued_bytes.store(bytes as u64, Relaxed);
    }
}

impl Numbers {
    /// Number of lines dropped for a reason.
    #[must_use]
    pub const fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize]
    }
}
