//! Histograms that the kernel side fills: their bounds, and how their slots are numbered.
//!
//! Slot `i` counts values of at most `bounds[i]` and more than the bound before; the slot after the
//! last bound those above it; and one more slot has the sum of all values.

/// Bounds of retransmission timeouts, in milliseconds: the kernel's default minimum of 200 and its
/// doublings, up to its maximum of 120 s (`TCP_RTO_MIN`, `TCP_RTO_MAX`), and less for hosts whose
/// routes or namespaces allow it.
pub const RTO_MS: [u32; 13] =
    [10, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 60_000, 120_000];

/// Bounds of how full an accept queue is, in percent of its limit. The kernel refuses what comes once
/// there is one more than the limit (`sk_acceptq_is_full`).
pub const QUEUE_PERCENT: [u32; 6] = [10, 25, 50, 75, 90, 100];

/// Bounds of how long a connection waited to be accepted, in milliseconds.
pub const ACCEPT_WAIT_MS: [u32; 13] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// The same by service: coarse, as each bound is a series of its own.
pub const SLOW_ACCEPT_MS: [u32; 4] = [10, 100, 1_000, 10_000];

/// How many slots a histogram with so many bounds has.
#[must_use]
pub const fn slots(bounds: usize) -> usize {
    bounds + 2
}

/// The slot that counts a value.
#[must_use]
#[inline]
pub fn slot<const N: usize>(bounds: &[u32; N], value: u32) -> usize {
    // A sum, not a search: no branches that would multiply the verifier's work.
    bounds.iter().map(|bound| usize::from(value > *bound)).sum()
}

/// The slot that has the sum.
#[must_use]
#[inline]
pub const fn sum_slot(bounds: usize) -> usize {
    bounds + 1
}
