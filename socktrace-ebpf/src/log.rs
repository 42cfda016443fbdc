//! What the programs say about themselves, for `--probe-log`.

/// Logs a message where the programs are built with the feature `log`; elsewhere it is no code at
/// all.
macro_rules! debug {
    ($ctx:expr, $($message:tt)+) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!($ctx, $($message)+);
    };
}
