//! Bounded queue of lines on their way to the screen.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of queued lines.
const MOST_LINES: usize = 16_384;

/// Maximum size of the queued lines in bytes.
const MOST_BYTES: usize = 16 << 20;

/// A line in JSON.
pub(crate) type Text = Box<[u8]>;

/// Queue with one reader, the screen.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    has_room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Text>,
    bytes: usize,
    /// Number of lines dropped because the queue was full.
    dropped: u64,
    /// Number of events lost in the kernel.
    lost: u64,
    /// Number of the request that the lines belong to; each moment of a history is a new one.
    epoch: u64,
    /// Whether the reader has gone.
    is_closed: bool,
    /// Set if nothing follows, with a message.
    end: Option<String>,
}

impl State {
    fn is_full(&self) -> bool {
        self.lines.len() >= MOST_LINES || self.bytes >= MOST_BYTES
    }

    fn push(&mut self, line: Text) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.bytes = 0;
    }
}

/// Result of [`Feed::take`].
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
    pub(crate) end: Option<String>,
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line if there is room, else counts it as dropped. Never waits.
    pub(crate) fn offer(&self, line: Text) {
        let mut state = self.state();
        if state.is_full() {
            state.dropped += 1;
        } else if !state.is_closed {
            state.push(line);
        }
    }

    /// Waits for room and adds a line; returns whether more lines of this epoch are wanted.
    pub(crate) fn put(&self, line: Text, epoch: u64) -> bool {
        let waits = |state: &mut State| state.is_full() && !state.is_closed && state.epoch == epoch;
        let guard = self.has_room.wait_while(self.state(), waits);
        let mut state = guard.unwrap_or_else(PoisonError::into_inner);
        let is_wanted = !state.is_closed && state.epoch == epoch;
        if is_wanted {
            state.push(line);
        }
        is_wanted
    }

    /// Sets the number of events lost in the kernel since the start.
    pub(crate) fn set_lost(&self, lost: u64) {
        self.state().lost = lost;
    }

    /// Marks the end of the lines.
    pub(crate) fn end(&self, words: String, epoch: u64) {
        let mut state = self.state();
        if state.epoch == epoch {
            state.end = Some(words);
        }
    }

    /// Moves up to `most` lines to `lines`.
    pub(super) fn take(&self, lines: &mut Vec<Text>, most: usize) -> Taken {
        let mut state = self.state();
        let count = most.min(state.lines.len());
        let before = lines.len();
        lines.extend(state.lines.drain(..count));
        let bytes: usize = lines[before..].iter().map(|line| line.len()).sum();
        state.bytes -= bytes;
        self.has_room.notify_all();
        // The final message comes after the last line.
        let end = if state.lines.is_empty() { state.end.take() } else { None };
        Taken { dropped: state.dropped, lost: state.lost, end }
    }

    /// Discards queued lines and begins a new epoch, which is returned.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.clear();
        state.end = None;
        state.epoch += 1;
        self.has_room.notify_all();
        state.epoch
    }

    /// Closes the queue to further lines.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.clear();
        state.is_closed = true;
        self.has_room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let feed = Feed::default();
        for _ in 0..MOST_LINES + 5 {
            feed.offer(Box::from(*b"x"));
        }
        let mut lines = Vec::new();
        assert_eq!(feed.take(&mut lines, 10).dropped, 5);
        assert_eq!(lines.len(), 10);
        feed.offer(Box::from(*b"y"));
        lines.clear();
        assert_eq!(feed.take(&mut lines, usize::MAX).dropped, 5);
        assert_eq!((lines.len(), feed.state().bytes), (MOST_LINES - 9, 0));
        for _ in 0..40 {
            feed.offer(vec![0; 1 << 20].into());
        }
        assert_eq!(feed.take(&mut lines, 0).dropped, 5 + 24, "lines can be long, too");
    }

    #[test]
    fn whoever_can_wait_does_until_there_is_room_or_nobody_reads() {
        let feed = Arc::new(Feed::default());
        let writer = Arc::clone(&feed);
        let all = 3 * MOST_LINES;
        let written =
            thread::spawn(move || (0..all).take_while(|_| writer.put(Box::from(*b"x"), 0)).count());
        let mut lines = Vec::new();
        while lines.len() < all {
            let taken = feed.take(&mut lines, 1_000);
            assert_eq!(taken.dropped, 0);
        }
        assert_eq!(written.join().expect("no panic"), all);

        let writer = Arc::clone(&feed);
        let endless = thread::spawn(move || while writer.put(Box::from(*b"x"), 0) {});
        assert_eq!(feed.begin(), 1);
        endless.join().expect("ends with its epoch");
        assert!(feed.put(Box::from(*b"x"), 1));
        feed.close();
        assert!(!feed.put(Box::from(*b"x"), 1));
    }
}
