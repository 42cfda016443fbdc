//! Writes batches of lines, one at a time, on a separate thread: a stalled reader stops the stream,
//! never the metrics.

use std::{
    future::Future as _,
    io::{self, ErrorKind, Write},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinHandle, spawn_blocking};

use super::Target;

/// Outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Everything was written.
    All,
    /// The reader has gone (`socktrace | head`).
    ReaderGone,
    /// The disk, or a quota, is full: this many lines, beyond this many bytes, are lost.
    Full { lines: u64, written: usize },
}

/// The writer, busy or idle.
#[derive(Default)]
pub(crate) struct Writer {
    target: Target,
    running: Option<JoinHandle<Attempt>>,
    /// Whether the last line written is incomplete.
    torn: bool,
    /// Whether the last write found the disk full.
    full: bool,
    /// The buffer of the last batch.
    spare: Vec<u8>,
}

/// A batch, and how far it got.
struct Attempt {
    batch: Vec<u8>,
    written: usize,
    result: io::Result<()>,
}

impl Attempt {
    fn make(batch: Vec<u8>, out: &mut impl Write) -> Self {
        let mut attempt = Self { batch, written: 0, result: Ok(()) };
        while attempt.written < attempt.batch.len() {
            match out.write(&attempt.batch[attempt.written..]) {
                Ok(0) => attempt.result = Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    attempt.written += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => attempt.result = Err(error),
            }
            return attempt;
        }
        attempt.result = out.flush();
        attempt
    }
}

impl Writer {
    /// Creates a writer to this target.
    pub(crate) fn new(target: Target) -> Self {
        Self { target, ..Self::default() }
    }

    /// Whether a batch is being written.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the last write found the disk full.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Starts writing a batch of whole lines. Must not be called while busy.
    pub(crate) fn start(&mut self, mut batch: Vec<u8>) {
        if mem::take(&mut self.torn) {
            batch.insert(0, b'\n');
        }
        let mut out = Unbuffered(self.target.clone());
        self.running = Some(spawn_blocking(move || Attempt::make(batch, &mut out)));
    }

    /// Waits for the end of the write; forever when not busy.
    ///
    /// # Errors
    /// The error that ended the write, unless a [`Written`] describes it.
    pub(crate) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Written>> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let attempt = ready!(Pin::new(running).poll(context)).map_err(io::Error::other)?;
        self.running = None;
        let written = self.end(&attempt);
        self.spare = attempt.batch;
        Poll::Ready(written)
    }

    /// Returns the buffer of the last batch.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        mem::take(&mut self.spare)
    }

    fn end(&mut self, attempt: &Attempt) -> io::Result<Written> {
        let Attempt { batch, written, result } = attempt;
        let (out, rest) = batch.split_at(*written);
        self.torn = out.last().is_some_and(|byte| *byte != b'\n');
        let Err(error) = result else {
            if mem::take(&mut self.full) {
                log::warn!("the stream can be written again");
            }
            return Ok(Written::All);
        };
        match error.kind() {
            ErrorKind::BrokenPipe => Ok(Written::ReaderGone),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                if !mem::replace(&mut self.full, true) {
                    log::error!(
                        "cannot write the stream, so lines are lost; counting continues: {error}"
                    );
                }
                // One per line end.
                let lines = rest.split(|byte| *byte == b'\n').count() - 1;
                Ok(Written::Full { lines: lines as u64, written: *written })
            }
            kind => Err(kind.into()),
        }
    }
}

/// Not through the buffer of `io::stdout`, which would keep what could not be written.
struct Unbuffered(Target);

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for this many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn write(writer: &mut Writer, room: usize) -> Written {
        let attempt = Attempt::make(b"one\ntwo\nthree\n".to_vec(), &mut Disk(room));
        writer.end(&attempt).expect("no other error")
    }

    #[test]
    fn a_full_disk_costs_the_lines_that_are_not_whole() {
        let mut writer = Writer::default();
        assert_eq!(write(&mut writer, 100), Written::All);
        assert_eq!(write(&mut writer, 8), Written::Full { lines: 1, written: 8 });
        assert!(!writer.torn);
        assert_eq!(write(&mut writer, 6), Written::Full { lines: 2, written: 6 });
        assert!(writer.torn, "the next line must not be glued to half a line");
        assert_eq!(write(&mut writer, 0), Written::Full { lines: 3, written: 0 });
        assert_eq!(write(&mut writer, 100), Written::All);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let gone =
            |kind: ErrorKind| Attempt { batch: Vec::new(), written: 0, result: Err(kind.into()) };
        let mut writer = Writer::default();
        assert_eq!(
            writer.end(&gone(ErrorKind::BrokenPipe)).expect("reported"),
            Written::ReaderGone
        );
        assert!(writer.end(&gone(ErrorKind::PermissionDenied)).is_err());
    }
}
