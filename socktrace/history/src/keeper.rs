//! The thread that writes what waits, and goes on when the disk does not.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    counts::{Dropped, Numbers},
    queue::{Queue, Row, Taken},
    store::{Limits, OpenError, Place, Store, is_damage},
};

/// How often what is too old is removed.
const PRUNING: Duration = Duration::from_mins(1);

/// How long after a failure to write it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How long the rest may take in the end.
const END: Duration = Duration::from_secs(5);

/// Writes lines.
#[derive(Debug)]
pub struct Keeper {
    queue: Arc<Queue>,
    place: Place,
    limits: Limits,
    store: Option<Store>,
    /// When it is tried again, after a failure that was reported.
    retry: Option<Instant>,
    pruned: Option<Instant>,
    done: mpsc::Sender<()>,
}

/// What ends a keeper.
#[derive(Debug)]
pub struct Control {
    queue: Arc<Queue>,
    done: mpsc::Receiver<()>,
}

impl Keeper {
    /// One that writes there what waits in a queue. Opens the file, with the privileges that there are; where
    /// that fails it says so, and tries again later.
    #[must_use]
    pub fn new(queue: Arc<Queue>, place: Place, limits: Limits) -> (Self, Control) {
        let (done, end) = mpsc::channel();
        let control = Control { queue: Arc::clone(&queue), done: end };
        let (store, retry, pruned) = (None, None, None);
        let mut keeper = Self { queue, place, limits, store, retry, pruned, done };
        keeper.open();
        (keeper, control)
    }

    /// Writes until the queue is closed and empty.
    pub fn run(mut self) {
        loop {
            match self.queue.take(PRUNING) {
                Taken::Rows(rows) => self.keep(&rows),
                Taken::Nothing => {}
                Taken::Closed => break,
            }
            self.prune();
        }
        // Closes the file before the end is known.
        self.store = None;
        // Whoever waited for it may have gone.
        let _ = self.done.send(());
    }

    fn keep(&mut self, rows: &[Row]) {
        let counts = Arc::clone(self.queue.counts());
        if self.retry.is_some_and(|retry| Instant::now() < retry) {
            counts.add_dropped(Dropped::Unwritable, rows.len() as u64);
            return;
        }
        if self.store.is_none() {
            self.open();
        }
        let Some(store) = &mut self.store else {
            counts.add_dropped(Dropped::Unwritable, rows.len() as u64);
            return;
        };
        match store.add(rows) {
            Ok(()) => {
                counts.add_written(rows.len() as u64);
                if self.retry.take().is_some() {
                    let dropped = counts.read().dropped(Dropped::Unwritable);
                    log::warn!("history: can be written again; {dropped} lines are missing");
                }
            }
            Err(error) => {
                if is_damage(&error) {
                    // These lines begin a new one.
                    self.store = None;
                    Store::set_aside(&self.place);
                    self.open();
                    if let Some(store) = &mut self.store
                        && store.add(rows).is_ok()
                    {
                        counts.add_written(rows.len() as u64);
                        return;
                    }
                }
                counts.add_dropped(Dropped::Unwritable, rows.len() as u64);
                self.failed(&format!("cannot be written: {error}"));
            }
        }
    }

    fn open(&mut self) {
        match Store::open(&self.place) {
            Ok(store) => {
                self.queue.counts().set_file(store.bytes());
                self.store = Some(store);
            }
            Err(error @ OpenError::Taken(_)) => {
                self.failed(&format!("{error}; this one goes on without"));
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// Notes a failure, and says so once.
    fn failed(&mut self, text: &str) {
        if self.retry.replace(Instant::now() + RETRY).is_none() {
            log::warn!("history: {text}; everything else goes on");
        }
    }

    /// Removes what is too much at once, and what is too old now and then.
    fn prune(&mut self) {
        let Some(store) = &mut self.store else { return };
        let is_due = self.pruned.is_none_or(|pruned| pruned.elapsed() >= PRUNING);
        if is_due || store.is_larger_than(self.limits) {
            self.pruned = Some(Instant::now());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
            if let Err(error) = store.prune(self.limits, now) {
                log::debug!("history: cannot remove old lines: {error}");
            }
        }
        self.queue.counts().set_file(store.bytes());
    }
}

impl Control {
    /// What became of lines so far.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Has what waits written, if that takes no longer than some seconds, and returns what it came to.
    #[must_use]
    pub fn finish(self) -> Numbers {
        self.queue.close();
        if self.done.recv_timeout(END).is_err() {
            self.queue.clear();
        }
        self.queue.counts().read()
    }
}
