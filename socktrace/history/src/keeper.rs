//! The thread that writes what waits, and goes on when the disk does not.

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
    limits: Arc<Mutex<Limits>>,
    store: Option<Store>,
    /// When it is tried again, after a failure that was reported.
    retry: Option<Instant>,
    /// When what is too much was removed last, and what that was.
    pruned: Option<(Instant, Limits)>,
    done: mpsc::Sender<()>,
}

/// Changes and ends a keeper.
#[derive(Debug)]
pub struct Control {
    queue: Arc<Queue>,
    limits: Arc<Mutex<Limits>>,
    done: mpsc::Receiver<()>,
}

impl Keeper {
    /// One that writes there what waits in a queue. Opens the file, with the privileges that there are; where
    /// that fails it says so, and tries again later.
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
        // Closes the file before the end is known.
        self.store = None;
        // Whoever waited for it may have gone.
        let _ = self.done.send(());
    }

    /// Writes lines, or counts them as missing.
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
                if !passes(&error) {
                    // A problem that is fixed meanwhile shows only in a file that is opened again.
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

    /// Notes a failure, and says so once.
    fn failed(&mut self, text: &str) {
        if self.retry.replace(Instant::now() + RETRY).is_none() {
            log::warn!("history: {text}; everything else continues");
        }
    }

    /// Removes what is too much at once, and what is too old now and then.
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

/// Whether a failure passes while the file stays open.
fn passes(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl Control {
    /// Keeps more or less from now on: what is too much goes within a minute.
    pub fn change(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Counts of lines so far.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Writes what waits, if that takes no longer than some seconds, and returns the counts.
    #[must_use]
    pub fn finish(self) -> Numbers {
        self.queue.close();
        if self.done.recv_timeout(END).is_err() {
            self.queue.clear();
        }
        self.queue.counts().read()
    }
}
