//! The thread that writes queued lines and survives disk failures.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::ErrorCode;

use super::{
    counts::{Dropped, Numbers},
    place::Place,
    queue::{Queue, Row, Taken},
    store::{Limits, OpenError, Store, is_damage},
};

/// Interval at which old lines are removed.
const PRUNING: Duration = Duration::from_mins(1);

/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(10);

/// Longest time to write the remaining lines at exit.
const END: Duration = Duration::from_secs(5);

/// Writes lines to the file.
#[derive(Debug)]
pub struct Keeper {
    queue: Arc<Queue>,
    place: Place,
    limits: Arc<Mutex<Limits>>,
    store: Option<Store>,
    /// Time of the next attempt after a failure, which has been reported.
    retry: Option<Instant>,
    /// Time and limits of the last pruning.
    pruned: Option<(Instant, Limits)>,
    done: mpsc::Sender<()>,
}

/// Handle to change limits and stop a keeper.
#[derive(Debug)]
pub struct Control {
    queue: Arc<Queue>,
    limits: Arc<Mutex<Limits>>,
    done: mpsc::Receiver<()>,
}

impl Keeper {
    /// A keeper that writes queued lines to a place. It opens the file with the privileges
    /// available now. If that fails, it logs the failure and retries later.
    #[must_use]
    pub fn new(queue: Arc<Queue>, place: Place, limits: Limits) -> (Self, Control) {
        let (done, end) = mpsc::channel();
        let limits = Arc::new(Mutex::new(limits));
        let control = Control { queue: Arc::clone(&queue), limits: Arc::clone(&limits), done: end };
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
        // Close the file before signalling the end.
        self.store = None;
        // The receiver may have gone.
        let _ = self.done.send(());
    }

    /// Writes lines, or counts them as dropped.
    pub(crate) fn keep(&mut self, rows: &[Row]) {
        let counts = Arc::clone(self.queue.counts());
        if self.retry.is_some_and(|retry| Instant::now() < retry) {
            counts.add_dropped(Dropped::Unwritable, rows.len() as u64);
            return;
        }
        if self.store.as_ref().is_some_and(Store::is_gone) {
            self.store = None;
            log::warn!("history: {} was moved or deleted", self.place.file.display());
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
                    log::warn!("history: writing works again; {dropped} lines are missing");
                }
            }
            Err(error) => {
                if is_damage(&error) {
                    // These lines start a new file.
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
                if !passes(&error) {
                    // Only reopening the file shows whether the problem has been fixed.
                    self.store = None;
                }
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
                self.failed(&format!("{error}; this process runs without a history"));
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// Records a failure and logs the first in a row.
    fn failed(&mut self, text: &str) {
        if self.retry.replace(Instant::now() + RETRY).is_none() {
            log::warn!("history: {text}; everything else continues");
        }
    }

    /// Removes excess lines immediately, and old lines at intervals.
    pub(crate) fn prune(&mut self) {
        let Some(store) = &mut self.store else { return };
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = self.pruned.is_none_or(|(when, by)| when.elapsed() >= PRUNING || by != limits);
        if is_due || store.is_larger_than(limits) {
            self.pruned = Some((Instant::now(), limits));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
            if let Err(error) = store.prune(limits, now) {
                log::debug!("history: cannot remove old lines: {error}");
            }
        }
        self.queue.counts().set_file(store.bytes());
    }
}

/// Whether a failure is temporary, so that the file can stay open.
fn passes(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl Control {
    /// Sets new limits; excess lines are removed within a minute.
    pub fn change(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// The keeper's queue.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Writes the queued lines, within some seconds at most, and returns the counts.
    #[must_use]
    pub fn finish(self) -> Numbers {
        self.queue.close();
        if self.done.recv_timeout(END).is_err() {
            self.queue.clear();
        }
        self.queue.counts().read()
    }
}
