//! What became of lines: written by queue and keeper, read by scrapes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why lines were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue had no room, as the disk is slow.
    QueueFull,
    /// The file took none: the disk is full, cannot be written, or another process keeps the history.
    Unwritable,
    /// The daemon ended before they were written.
    Ended,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::Unwritable, Self::Ended];

    /// The value of a label.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unwritable => "unwritable",
            Self::Ended => "ended",
        }
    }
}

/// The numbers so far.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    file_bytes: AtomicU64,
    queued_bytes: AtomicU64,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Lines in the file since the start.
    pub written: u64,
    /// Lines that were dropped, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Size of the file, and of the log of what was not moved there yet.
    pub file_bytes: u64,
    /// Memory of lines that wait.
    pub queued_bytes: u64,
}

impl Counts {
    /// The numbers now.
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
    /// How many were dropped for this reason.
    #[must_use]
    pub const fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize]
    }
}
