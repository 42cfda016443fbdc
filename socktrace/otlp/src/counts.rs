//! What became of records: written by the sink and the exporter, read by scrapes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why records were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue had no room, as the collector is away or slow.
    QueueFull,
    /// The collector refused a request for good, as by 400 or 401.
    Refused,
    /// The collector took a request and not all of its records.
    Rejected,
    /// The daemon ended before they were sent.
    Ended,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Refused, Self::Rejected, Self::Ended];

    /// The value of a label.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Ended => "ended",
        }
    }
}

/// The numbers so far.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    own: AtomicU64,
    unjoined: AtomicU64,
    failed_requests: AtomicU64,
    queued_records: AtomicU64,
    queued_bytes: AtomicU64,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Records that the collector has taken.
    pub sent: u64,
    /// Records that were dropped, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Events of this process itself, which are not sent.
    pub own: u64,
    /// Events that were sent by their number only, and so without what joins both ends of a connection.
    pub unjoined: u64,
    /// Requests that failed, most of which are tried again.
    pub failed_requests: u64,
    /// Records that wait, or are on their way.
    pub queued_records: u64,
    /// Their bytes.
    pub queued_bytes: u64,
}

impl Counts {
    /// The numbers now.
    pub fn read(&self) -> Numbers {
        Numbers {
            sent: self.sent.load(Relaxed),
            dropped: [0, 1, 2, 3].map(|reason: usize| self.dropped[reason].load(Relaxed)),
            own: self.own.load(Relaxed),
            unjoined: self.unjoined.load(Relaxed),
            failed_requests: self.failed_requests.load(Relaxed),
            queued_records: self.queued_records.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
        }
    }

    /// Counts events of this process.
    pub fn add_own(&self, count: u64) {
        self.own.fetch_add(count, Relaxed);
    }

    /// Counts events that no record stands for one by one.
    pub fn add_unjoined(&self, count: u64) {
        self.unjoined.fetch_add(count, Relaxed);
    }

    pub(crate) fn add_sent(&self, count: u64) {
        self.sent.fetch_add(count, Relaxed);
    }

    pub(crate) fn add_dropped(&self, why: Dropped, count: u64) {
        self.dropped[why as usize].fetch_add(count, Relaxed);
    }

    pub(crate) fn add_failed_request(&self) {
        self.failed_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_queued(&self, records: usize, bytes: usize) {
        self.queued_records.store(records as u64, Relaxed);
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
