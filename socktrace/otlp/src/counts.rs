//! Counts of records, written by the sink and the exporter, read by scrapes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Reason for dropping records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue was full because the collector is down or slow.
    QueueFull,
    /// The collector refused a request permanently, such as with 400 or 401.
    Refused,
    /// The collector accepted a request without some of its records.
    Rejected,
    /// The daemon exited before the records were sent.
    Ended,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Refused, Self::Rejected, Self::Ended];

    /// Value of the metric's label.
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

/// Counts up to now.
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

/// Snapshot of the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Records accepted by the collector.
    pub sent: u64,
    /// Dropped records, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Events of this process itself, which are not sent.
    pub own: u64,
    /// Events sent only as part of a count, and thus without what links both ends of a connection.
    pub unjoined: u64,
    /// Failed requests. Most of them are retried.
    pub failed_requests: u64,
    /// Records queued or in flight.
    pub queued_records: u64,
    /// Size of these records in bytes.
    pub queued_bytes: u64,
}

impl Counts {
    /// Takes a snapshot.
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

    /// Counts events without their own records.
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
    /// Number of records dropped for a reason.
    #[must_use]
    pub const fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize]
    }
}
