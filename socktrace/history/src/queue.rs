//! Queue of lines to write: bounded in memory, however slow the disk is.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::counts::{Counts, Dropped};

/// Maximum memory of queued lines: some thousands of lines.
const MOST_BYTES: usize = 8 << 20;

/// Overhead of a line in addition to its text.
const OVERHEAD: usize = 64;

/// Lines written in one transaction: at most this many are lost on a power failure.
pub(crate) const BATCH: usize = 1_000;

/// Longest time for which the first line of a batch waits for others. Together with the time of a
/// disk write, lines lost in a crash are less than a second old.
const WAIT: Duration = Duration::from_millis(500);

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Time in nanoseconds since 1970.
    pub time: i64,
    /// JSON without the final newline.
    pub line: Vec<u8>,
}

/// A queue of lines. If it is full, new lines are dropped: the start of a failure is the most informative.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    news: Condvar,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Row>,
    bytes: usize,
    /// Arrival of the first queued line.
    since: Option<Instant>,
    is_closed: bool,
}

/// Result of [`Queue::take`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Rows(Vec<Row>),
    /// Nothing arrived in time.
    Nothing,
    /// The queue is closed and empty.
    Closed,
}

impl Queue {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(counts: Arc<Counts>) -> Self {
        Self { state: Mutex::default(), news: Condvar::new(), counts }
    }

    /// Counts of lines.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Adds a line if there is room; never waits for the disk.
    pub fn push(&self, row: Row) {
        let mut state = self.lock();
        let bytes = row.line.len() + OVERHEAD;
        if state.is_closed || state.bytes + bytes > MOST_BYTES {
            drop(state);
            self.counts.add_dropped(Dropped::QueueFull, 1);
            return;
        }
        state.bytes += bytes;
        state.since.get_or_insert_with(Instant::now);
        state.waiting.push_back(row);
        let count = state.waiting.len();
        self.counts.set_queued(state.bytes);
        drop(state);
        // The first line starts the wait for others, and a full batch ends it.
        if count == 1 || count == BATCH {
            self.news.notify_one();
        }
    }

    /// Refuses further lines; queued ones can still be taken.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// Waits for a batch: up to [`BATCH`] lines, or fewer if the first has waited long enough.
    /// Returns [`Taken::Nothing`] if none is ready within `patience`.
    pub(crate) fn take(&self, patience: Duration) -> Taken {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state.since.map(|since| since + WAIT);
            let is_due = due.is_some_and(|due| due <= now);
            if is_due || state.waiting.len() >= BATCH || state.is_closed {
                break;
            }
            if now >= end {
                return Taken::Nothing;
            }
            let left = due.unwrap_or(end).min(end).saturating_duration_since(now);
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.waiting.is_empty() {
            return if state.is_closed { Taken::Closed } else { Taken::Nothing };
        }
        let count = state.waiting.len().min(BATCH);
        let rows: Vec<_> = state.waiting.drain(..count).collect();
        let bytes: usize = rows.iter().map(|row| row.line.len() + OVERHEAD).sum();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.since = (!state.waiting.is_empty()).then(Instant::now);
        self.counts.set_queued(state.bytes);
        Taken::Rows(rows)
    }

    /// Drops the remaining lines, at exit.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let left = state.waiting.drain(..).count();
        state.bytes = 0;
        self.counts.set_queued(0);
        self.counts.add_dropped(Dropped::Ended, left as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(length: usize) -> Row {
        Row { time: 0, line: vec![b'x'; length] }
    }

    #[test]
    fn memory_is_bounded() {
        let queue = Queue::new(Arc::default());
        let fits = MOST_BYTES / (1_000 + OVERHEAD);
        (0..fits + 5).for_each(|_| queue.push(row(1_000)));
        let numbers = queue.counts().read();
        assert_eq!(numbers.dropped(Dropped::QueueFull), 5);
        assert!(numbers.queued_bytes <= MOST_BYTES as u64);
        let Taken::Rows(rows) = queue.take(Duration::ZERO) else { panic!("none") };
        assert_eq!(rows.len(), BATCH);
        queue.push(row(1_000));
        assert_eq!(queue.counts().read().dropped(Dropped::QueueFull), 5);
    }

    #[test]
    fn few_wait_for_others_and_are_taken_in_the_end() {
        let queue = Queue::new(Arc::default());
        assert_eq!(queue.take(Duration::ZERO), Taken::Nothing);
        queue.push(row(1));
        assert_eq!(queue.take(Duration::ZERO), Taken::Nothing, "others may come");
        assert_eq!(queue.take(Duration::from_mins(1)), Taken::Rows(vec![row(1)]));
        queue.push(row(2));
        queue.close();
        queue.push(row(3));
        assert_eq!(queue.take(Duration::ZERO), Taken::Rows(vec![row(2)]));
        assert_eq!(queue.take(Duration::ZERO), Taken::Closed);
        assert_eq!(queue.counts().read().dropped(Dropped::QueueFull), 1);
    }

    #[test]
    fn what_is_left_is_counted() {
        let queue = Queue::new(Arc::default());
        queue.push(row(1));
        queue.clear();
        assert_eq!(queue.counts().read().dropped(Dropped::Ended), 1);
    }
}
