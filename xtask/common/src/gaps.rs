//! Known gaps of socktrace on some kernels. Any other gap is news.

/// Hooks, by their stable names, that a series has no function for.
#[must_use]
pub fn absent_hooks(series: &str) -> &'static [&'static str] {
    match series {
        "5.10" => &["inet_sk_error_report"],
        _ => &[],
    }
}

/// Gaps of a series that has the hooks, in words of the plan.
#[must_use]
pub fn losses(series: &str) -> &'static [&'static str] {
    match series {
        "5.10" => &[DATA_AFTER_SHUTDOWN, FAILING_ACCEPTS],
        _ => &[],
    }
}

/// Resets without an RST: the kernel does not pass the segment to `tcp_reset`.
pub const DATA_AFTER_SHUTDOWN: &str = "data_after_shutdown";

/// Failing accepts that are not system calls. Up to 5.16, the verifier rejects the pointer to the
/// errno that `inet_csk_accept` takes.
pub const FAILING_ACCEPTS: &str = "accepts by io_uring that fail";
