//! Histograms that the kernel side fills: their bounds, and the numbering of their slots.
//!
//! Slot `i` counts values above the previous bound and up to `bounds[i]`. The slot after the last
//! bound counts the values above it, and one more slot holds the sum of all values.

/// Bounds of retransmission timeouts, in milliseconds: the kernel's default minimum of 200 and its
/// doublings, up to its maximum of 120 s (`TCP_RTO_MIN`, `TCP_RTO_MAX`), and less for hosts whose
/// routes or namespaces allow it.
pub const RTO_MS: [u32; 13] =
    [10, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 60_000, 120_000];

/// Bounds of an accept queue's fill level, in percent of its limit. The kernel refuses connections
/// once the queue holds one more than the limit (`sk_acceptq_is_full`).
pub const QUEUE_PERCENT: [u32; 6] = [10, 25, 50, 75, 90, 100];

/// Bounds of the time that a connection waited to be accepted, in milliseconds.
pub const ACCEPT_WAIT_MS: [u32; 13] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// Bounds of the same time by service: coarse, because each bound is a series of its own.
pub const SLOW_ACCEPT_MS: [u32; 4] = [10, 100, 1_000, 10_000];

/// Number of slots of a histogram with this many bounds.
#[must_use]
pub const fn slots(bounds: usize) -> usize {
    bounds + 2
}

/// Slot that counts a value.
#[must_use]
#[inline]
pub fn slot<const N: usize>(bounds: &[u32; N], value: u32) -> usize {
    // A sum instead of a search: branches would multiply the verifier's work.
    bounds.iter().map(|bound| usize::from(value > *bound)).sum()
}

/// Slot that holds the sum.
#[must_use]
#[inline]
pub const fn sum_slot(bounds: usize) -> usize {
    bounds + 1
}
