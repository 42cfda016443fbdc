//! Look-up of names on a separate thread, so that a hung file system does not stall the stream.

use std::{
    cell::OnceCell,
    collections::HashSet,
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use socktrace_exporter::vital;

use super::{host_files::HostFiles, names::NameFiles, service::Service};

/// Maximum number of pending look-ups.
const WAITING: usize = 64;

/// Path of a cgroup, and its service.
type Named = (Arc<str>, Service);

/// Adds names to a service.
type LookUp = Box<dyn Fn(&mut Service) + Send>;

/// The look-up thread and the pending requests.
pub(super) struct NameLookups {
    /// Moved into the thread when it starts.
    look_up: Option<LookUp>,
    /// Maximum wait for the names of a new service.
    patience: Duration,
    /// Started on first use, with whatever privileges this process has left by then.
    thread: Option<Thread>,
    /// Paths of pending look-ups.
    asked: HashSet<Arc<str>>,
    /// Answers to other requests that arrived during a wait.
    others: Vec<Named>,
    /// Whether the last wait timed out and no answer has arrived since.
    is_late: bool,
}

struct Thread {
    requests: SyncSender<Named>,
    answers: Receiver<Named>,
}

impl NameLookups {
    /// Looks names up in a host's files.
    pub(super) fn new(files: HostFiles, patience: Duration) -> Self {
        let names = OnceCell::new();
        Self::by(patience, move |service| {
            names.get_or_init(|| NameFiles::new(files.clone())).add_to(service);
        })
    }

    fn by(patience: Duration, look_up: impl Fn(&mut Service) + Send + 'static) -> Self {
        let look_up: LookUp = Box::new(look_up);
        let (thread, asked) = (None, HashSet::new());
        Self { look_up: Some(look_up), patience, thread, asked, others: Vec::new(), is_late: false }
    }

    /// Services whose look-ups have finished since they were requested.
    pub(super) fn answered(&mut self) -> Vec<Named> {
        let Some(thread) = &self.thread else { return Vec::new() };
        let mut answers = mem::take(&mut self.others);
        for answer in thread.answers.try_iter() {
            self.asked.remove(&answer.0);
            self.is_late = false;
            answers.push(answer);
        }
        answers
    }

    /// Returns the service with its names; `None` while the look-up is pending. Waits, unless the
    /// thread is late.
    pub(super) fn ask(&mut self, path: &Arc<str>, service: &Service) -> Option<Service> {
        if self.asked.len() == WAITING || self.asked.contains(path) {
            return None;
        }
        if self.thread.is_none() {
            self.thread = start(self.look_up.take()?);
        }
        let thread = self.thread.as_ref()?;
        // The channel has room for all pending look-ups.
        thread.requests.try_send((Arc::clone(path), service.clone())).ok()?;
        self.asked.insert(Arc::clone(path));
        if self.is_late {
            return None;
        }
        let deadline = Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match thread.answers.recv_timeout(left) {
                Ok((answered, service)) => {
                    self.asked.remove(&answered);
                    if answered == *path {
                        return Some(service);
                    }
                    self.others.push((answered, service));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    self.is_late = true;
                    return None;
                }
            }
        }
    }
}

/// Starts the thread. It ends when all senders are dropped.
fn start(look_up: LookUp) -> Option<Thread> {
    let (requests, asked) = sync_channel::<Named>(WAITING);
    let (answer, answers) = sync_channel(WAITING);
    let work = move || {
        for (path, mut service) in asked {
            look_up(&mut service);
            if answer.send((path, service)).is_err() {
                return;
            }
        }
    };
    match vital::spawn("names", work) {
        Ok(()) => Some(Thread { requests, answers }),
        Err(error) => {
            log::warn!("containers are shown without names: cannot start a thread: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for any thread to answer.
    const PATIENT: Duration = Duration::from_mins(1);

    fn service(unit: usize) -> (Arc<str>, Service) {
        let path = format!("/system.slice/{unit}.service");
        (path.as_str().into(), Service::from_cgroup_path(&path))
    }

    #[test]
    fn who_waits_gets_the_names() {
        let mut lookups = NameLookups::by(PATIENT, |service| service.user = Some(7));
        let (path, unnamed) = service(1);
        let named = lookups.ask(&path, &unnamed).expect("in time");
        assert_eq!((unnamed.user, named.user), (None, Some(7)));
        assert!(lookups.answered().is_empty(), "returned twice");
    }

    #[test]
    fn a_file_system_that_hangs_is_waited_for_once() {
        let (release, hanging) = sync_channel::<()>(0);
        let mut lookups = NameLookups::by(Duration::from_millis(20), move |service| {
            let _released = hanging.recv();
            service.user = Some(7);
        });
        let began = Instant::now();
        for unit in 0..2 * WAITING {
            let (path, service) = service(unit);
            for _ in 0..2 {
                assert_eq!(lookups.ask(&path, &service), None);
            }
        }
        assert_eq!(lookups.asked.len(), WAITING, "without a bound");
        assert!(began.elapsed() < PATIENT, "waits for each of them");
        // The file system no longer hangs.
        drop(release);
        let mut answers = 0;
        while answers < WAITING {
            let named = lookups.answered();
            assert!(named.iter().all(|(_, service)| service.user == Some(7)));
            answers += named.len();
        }
        assert!(lookups.asked.is_empty() && !lookups.is_late);
        let (path, service) = service(0);
        lookups.patience = PATIENT;
        assert!(lookups.ask(&path, &service).is_some());
    }
}
