//! Who reads standard output.

use std::{
    future,
    io::{self, Stdout},
};

use nix::sys::stat::{SFlag, fstat};
use tokio::io::{Interest, unix::AsyncFd};

/// The reader of standard output, where that is a pipe: its end is noticed although nothing is written.
pub(crate) struct PipeReader(Option<AsyncFd<Stdout>>);

impl PipeReader {
    /// Starts watching it.
    pub(crate) fn new() -> Self {
        let out = io::stdout();
        let kind = fstat(&out).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
        if kind != Ok(SFlag::S_IFIFO) {
            return Self(None);
        }
        // SAFETY: it is descriptor 1 always, which nobody closes.
        let watched = unsafe { AsyncFd::register_with_interest(out, Interest::ERROR) };
        // Without it a write that fails says the same later.
        Self(
            watched
                .inspect_err(|error| {
                    log::debug!("cannot watch for the end of the stream's reader: {error}");
                })
                .ok(),
        )
    }

    /// Waits until it is gone; forever where it is not watched. Cancel safe.
    pub(crate) async fn gone(&self) {
        if let Some(watched) = &self.0
            && watched.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        future::pending::<()>().await;
    }
}
