//! Messages of the programs about themselves, for `--probe-log`.

/// Logs a message if the programs are built with the feature `log`; otherwise expands to nothing.
macro_rules! debug {
    ($ctx:expr, $($message:tt)+) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!($ctx, $($message)+);
    };
}
