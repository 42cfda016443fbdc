//! Sources of past lines: a history or a file.

use std::{
    io::{self, BufRead},
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
};

use socktrace_history::{ReadError, Reader};

use super::Feed;

/// Maximum length of a line read: far longer than any that socktrace writes.
const LONGEST: u64 = 1 << 20;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;

/// Minutes of lines read before a moment, as many as the screen counts.
const MINUTES: i64 = 15;

/// A history, and the span of it to show.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) file: PathBuf,
    pub(crate) span: Range<i64>,
}

/// Requests lines of moments, in nanoseconds since 1970.
#[derive(Debug)]
pub(crate) struct Moments {
    asked: Sender<(u64, i64)>,
    span: Range<i64>,
    /// Interval between two moments.
    step: i64,
}

impl Moments {
    /// The moment a number of steps away, limited to the span.
    pub(super) fn step(&self, from: i64, steps: i32) -> i64 {
        let to = from.saturating_add(self.step.saturating_mul(steps.into()));
        to.clamp(self.span.start, self.span.end.max(self.span.start))
    }

    /// Requests the lines of a moment.
    pub(super) fn ask(&self, epoch: u64, at: i64) {
        // This fails only if the reading thread has panicked, which has been reported.
        let _ = self.asked.send((epoch, at));
    }
}

/// The reader of a history, to run on its own thread, and its client.
pub(crate) fn history(history: History, step: i64) -> (Moments, impl FnOnce(&Feed)) {
    let (asked, questions) = channel();
    let moments = Moments { asked, span: history.span.clone(), step };
    (moments, move |feed: &Feed| read_moments(&history, &questions, feed))
}

fn read_moments(history: &History, questions: &Receiver<(u64, i64)>, feed: &Feed) {
    let mut opened = Reader::open(&history.file);
    while let Ok(question) = questions.recv() {
        // Only the last request counts.
        let (epoch, at) = questions.try_iter().last().unwrap_or(question);
        let begin = at.div_euclid(MINUTE).saturating_sub(MINUTES - 1).saturating_mul(MINUTE);
        let span = begin.max(history.span.start)..at.saturating_add(1);
        let put = |line: &[u8]| {
            if feed.put(line.into(), epoch) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let read = opened.as_mut().map(|reader| reader.read(span, put));
        let words = match read {
            Ok(Ok(())) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        feed.end(words, epoch);
    }
}

/// The time of the newest line in a span, rounded up to a second; `None` if the span is empty.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn newest(history: &History) -> Result<Option<i64>, ReadError> {
    let mut reader = Reader::open(&history.file)?;
    let mut has_any = |span: Range<i64>| {
        let mut has = false;
        let read = reader.read(span, |_| {
            has = true;
            ControlFlow::Break(())
        });
        read.map(|()| has)
    };
    let Range { start, end } = history.span;
    let (mut low, mut high) = (start.max(0), end);
    if low >= high || !has_any(low..high)? {
        return Ok(None);
    }
    // Invariant: some line is at or after `low`, none at or after `high`.
    while high - low > SECOND {
        let middle = low + (high - low) / 2;
        if has_any(middle..high)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Some(high))
}

/// Reads the lines of a file, on its own thread.
pub(crate) fn replay(mut input: impl BufRead, feed: &Feed) {
    let mut text = Vec::new();
    loop {
        text.clear();
        let mut limited = io::Read::take(&mut input, LONGEST);
        match limited.read_until(b'\n', &mut text) {
            Ok(0) => return feed.end("that is all".to_owned(), 0),
            Ok(_) => {}
            Err(error) => return feed.end(format!("cannot read on: {error}"), 0),
        }
        let line = text.trim_ascii();
        if !line.is_empty() && !feed.put(line.into(), 0) {
            return;
        }
    }
}
