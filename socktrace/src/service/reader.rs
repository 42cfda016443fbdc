//! The reader of standard output.

use std::{
    future,
    io::{self, Stdout},
};

use nix::sys::stat::{SFlag, fstat};
use tokio::io::{Interest, unix::AsyncFd};

/// Detects the end of standard output's reader, if it is a pipe, even while nothing is written.
pub(crate) struct PipeReader(Option<AsyncFd<Stdout>>);

impl PipeReader {
    /// Starts watching standard output.
    pub(crate) fn new() -> Self {
        let out = io::stdout();
        let kind = fstat(&out).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
        if kind != Ok(SFlag::S_IFIFO) {
            return Self(None);
        }
        // SAFETY: this is always descriptor 1, which is never closed.
        let watched = unsafe { AsyncFd::register_with_interest(out, Interest::ERROR) };
        // If it cannot be watched, a failed write reveals the same later.
        Self(
            watched
                .inspect_err(|error| {
                    log::debug!("cannot watch for the end of the stream's reader: {error}");
                })
                .ok(),
        )
    }

    /// Waits until the reader has gone; forever if not watched. Cancel safe.
    pub(crate) async fn gone(&self) {
        if let Some(watched) = &self.0
            && watched.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        future::pending::<()>().await;
    }
}
