//! Lines on their way to the screen: so many, and no more.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Lines that wait, at most.
const MOST_LINES: usize = 16_384;

/// Bytes of them, at most.
const MOST_BYTES: usize = 16 << 20;

/// A line in JSON.
pub(crate) type Text = Box<[u8]>;

/// A queue with one reader: the screen.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    has_room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Text>,
    bytes: usize,
    /// Lines that there was no room for.
    dropped: u64,
    /// Events that the kernel had no room for.
    lost: u64,
    /// Which span of a history the lines are of.
    epoch: u64,
    /// Nobody reads any more.
    is_closed: bool,
    /// Nothing follows; with what is to be said about that.
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

/// Lines since the last time.
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

    /// Adds a line if there is room, and counts it otherwise. Never waits.
    pub(crate) fn offer(&self, line: Text) {
        let mut state = self.state();
        if state.is_full() {
            state.dropped += 1;
        } else if !state.is_closed {
            state.push(line);
        }
    }

    /// Adds a line once there is room; whether anybody wants more of this epoch.
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

    /// Says how many events the kernel had no room for, since the start.
    pub(crate) fn set_lost(&self, lost: u64) {
        self.state().lost = lost;
    }

    /// Says that nothing follows.
    pub(crate) fn end(&self, words: String, epoch: u64) {
        let mut state = self.state();
        if state.epoch == epoch {
            state.end = Some(words);
        }
    }

    /// Moves some lines to `lines`.
    pub(super) fn take(&self, lines: &mut Vec<Text>, most: usize) -> Taken {
        let mut state = self.state();
        let count = most.min(state.lines.len());
        let before = lines.len();
        lines.extend(state.lines.drain(..count));
        let bytes: usize = lines[before..].iter().map(|line| line.len()).sum();
        state.bytes -= bytes;
        self.has_room.notify_all();
        // What is said about the end comes after the last line.
        let end = if state.lines.is_empty() { state.end.take() } else { None };
        Taken { dropped: state.dropped, lost: state.lost, end }
    }

    /// Forgets lines that wait, as others are asked for: those of the epoch that is returned.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state();
        state.clear();
        state.end = None;
        state.epoch += 1;
        self.has_room.notify_all();
        state.epoch
    }

    /// Takes no more.
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
