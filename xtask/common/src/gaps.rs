//! What socktrace is known not to see on some kernels. Everything else that is missing is news.

/// Hooks, by their stable names, that a series has no place for.
#[must_use]
pub fn absent_hooks(series: &str) -> &'static [&'static str] {
    match series {
        "5.10" => &["inet_sk_error_report"],
        _ => &[],
    }
}

/// What a series hides although the hooks are there: words of the plan.
#[must_use]
pub fn losses(series: &str) -> &'static [&'static str] {
    match series {
        "5.10" => &[DATA_AFTER_SHUTDOWN, FAILING_ACCEPTS],
        _ => &[],
    }
}

/// Resets without an RST: the kernel does not pass `tcp_reset` the segment.
pub const DATA_AFTER_SHUTDOWN: &str = "data_after_shutdown";

/// Accepts that fail and are no system calls: the verifier up to 5.16 refuses the pointer to the
/// errno that `inet_csk_accept` takes.
pub const FAILING_ACCEPTS: &str = "accepts by io_uring that fail";
