//! Queue of records to send: bounded in number and bytes, whatever the collector does.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use super::{
    batch::Encoded,
    counts::{Counts, Dropped},
};

/// Maximum number of records in a request, and of their bytes before compression. The default limit
/// of collectors is 20 MiB; proxies in front of them accept 1 MiB.
pub(crate) const BATCH_RECORDS: usize = 1_024;
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Maximum number of queued records, however small.
const MOST_RECORDS: usize = 65_536;

/// A queue of records. If it is full, new records are dropped: the start of a network failure says
/// the most.
pub struct Queue {
    state: Mutex<State>,
    most_bytes: usize,
    /// Notified when there is something to send.
    news: Notify,
    closed: watch::Sender<bool>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Encoded>,
    /// Size of queued and in-flight records in bytes.
    bytes: usize,
    /// Number of records in flight.
    under_way: usize,
}

/// Records taken from the queue. They occupy their room until [`Queue::done`].
pub(crate) struct Taken {
    pub(crate) records: Vec<Encoded>,
    bytes: usize,
}

impl Queue {
    /// A queue with this limit in bytes, which includes records in flight.
    #[must_use]
    pub fn new(most_bytes: usize, counts: Arc<Counts>) -> Self {
        let (news, closed) = (Notify::new(), watch::Sender::new(false));
        Self { state: Mutex::default(), most_bytes, news, closed, counts }
    }

    /// Counts of records.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether there is room for a record of average size in a full batch.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let state = self.lock();
        !self.is_closed()
            && state.waiting.len() + state.under_way < MOST_RECORDS
            && state.bytes + BATCH_BYTES / BATCH_RECORDS <= self.most_bytes
    }

    /// Adds a record; returns whether there was room. Never waits for the network.
    pub fn push(&self, record: Encoded) -> bool {
        let mut state = self.lock();
        let bytes = record.bytes();
        let has_room = !self.is_closed()
            && state.waiting.len() + state.under_way < MOST_RECORDS
            && state.bytes + bytes <= self.most_bytes;
        if !has_room {
            self.counts.add_dropped(Dropped::QueueFull, 1);
            return false;
        }
        state.bytes += bytes;
        state.waiting.push_back(record);
        let count = state.waiting.len();
        self.note(&state);
        drop(state);
        // The first record starts the wait for others, and a full batch ends it.
        if count == 1 || count == BATCH_RECORDS {
            self.news.notify_one();
        }
        true
    }

    /// Refuses further records; queued ones are still sent, with a single attempt.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until the queue is closed. Cancel safe.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as this queue, so this never fails.
        drop(self.closed.subscribe().wait_for(|is_closed| *is_closed).await);
    }

    /// Waits until there may be something to send, or the queue is closed. Cancel safe.
    pub(crate) async fn news(&self) {
        tokio::select! {
            () = self.news.notified() => {}
            () = self.closed() => {}
        }
    }

    /// Whether no records are queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Whether the queue refuses further records.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Whether a full batch is queued.
    pub(crate) fn has_batch(&self) -> bool {
        let state = self.lock();
        state.waiting.len() >= BATCH_RECORDS || state.bytes >= BATCH_BYTES
    }

    /// Takes the oldest records, as many as fit into a request.
    pub(crate) fn take(&self) -> Taken {
        let mut state = self.lock();
        let mut taken = Taken { records: Vec::new(), bytes: 0 };
        while taken.records.len() < BATCH_RECORDS {
            let room = BATCH_BYTES - taken.bytes.min(BATCH_BYTES);
            let fits = |record: &Encoded| taken.records.is_empty() || record.bytes() <= room;
            if !state.waiting.front().is_some_and(fits) {
                break;
            }
            let Some(record) = state.waiting.pop_front() else { break };
            taken.bytes += record.bytes();
            taken.records.push(record);
        }
        state.under_way += taken.records.len();
        taken
    }

    /// Releases the room of records that were in flight.
    pub(crate) fn done(&self, count: usize, taken_bytes: usize) {
        let mut state = self.lock();
        // At the end, all may have been dropped in the meantime.
        state.under_way = state.under_way.saturating_sub(count);
        state.bytes = state.bytes.saturating_sub(taken_bytes);
        self.note(&state);
    }

    /// Drops the remaining records, at exit.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let left = state.waiting.drain(..).count() + std::mem::take(&mut state.under_way);
        state.bytes = 0;
        self.counts.add_dropped(Dropped::Ended, left as u64);
        self.note(&state);
    }

    fn note(&self, state: &State) {
        self.counts.set_queued(state.waiting.len() + state.under_way, state.bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::record;

    fn queue(bytes: usize) -> Queue {
        Queue::new(bytes, Arc::default())
    }

    #[test]
    fn bytes_are_bounded_until_they_have_arrived() {
        let one = record("one", 1_000);
        let queue = queue(10 * one.bytes());
        let pushed = (0..25).filter(|_| queue.push(record("one", 1_000))).count();
        assert_eq!(pushed, 10);
        let numbers = queue.counts().read();
        assert_eq!(numbers.dropped(Dropped::QueueFull), 15);
        assert_eq!((numbers.queued_records, numbers.queued_bytes), (10, 10 * one.bytes() as u64));
        // Records in flight still occupy their room.
        let taken = queue.take();
        assert_eq!((taken.records.len(), queue.is_empty()), (10, true));
        assert!(!queue.push(record("one", 1_000)));
        queue.done(taken.records.len(), taken.bytes());
        assert!(queue.push(record("one", 1_000)));
        assert_eq!(queue.counts().read().queued_records, 1);
    }

    #[test]
    fn records_are_bounded_too() {
        let queue = queue(usize::MAX);
        assert!((0..MOST_RECORDS).all(|_| queue.push(record("", 0))));
        assert!(!queue.push(record("", 0)));
        assert_eq!(queue.take().records.len(), BATCH_RECORDS);
        assert!(!queue.push(record("", 0)));
    }

    #[test]
    fn a_batch_is_bounded_and_the_oldest_come_first() {
        let queue = queue(usize::MAX);
        for body in ["a", "b", "c"] {
            queue.push(record(body, BATCH_BYTES / 2 - 1_000));
        }
        assert!(queue.has_batch());
        let first = queue.take();
        assert_eq!(first.records.len(), 2);
        assert!(first.bytes() <= BATCH_BYTES);
        assert_eq!(queue.take().records.len(), 1);
        assert_eq!(queue.take().records.len(), 0);
        // A record larger than a batch is sent alone.
        queue.push(record("d", 2 * BATCH_BYTES));
        assert_eq!(queue.take().records.len(), 1);
    }

    #[test]
    fn what_is_left_in_the_end_is_counted() {
        let queue = queue(usize::MAX);
        queue.push(record("a", 10));
        queue.take();
        queue.push(record("b", 10));
        queue.close();
        assert!(!queue.push(record("c", 10)));
        queue.clear();
        let numbers = queue.counts().read();
        assert_eq!((numbers.dropped(Dropped::Ended), numbers.queued_records), (2, 0));
    }
}
