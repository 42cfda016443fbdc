//! Failures by service: from the kernel's exact counts by cgroup to a bounded number of series.

mod crowd;
mod labels;
mod ledger;
mod queues;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use socktrace_diagnosis::{Finding, diagnose};
use socktrace_ebpf::{
    ListenerState, Owned, Protocol, Signature,
    owned::{LISTENER_DROPS, SLOW_ACCEPT},
};

use self::{
    labels::Labels,
    ledger::{IDLE, Ledger, Posting},
};
pub(crate) use self::{
    labels::NAMES,
    ledger::{Failure, Key, Meaning},
    queues::Queue,
};
use crate::{
    counts::{Counts, OwnedCounts},
    owner::Owners,
};

/// Series by service. They have owners of their own, so that the stream does not wait for them.
pub(crate) struct Services {
    state: Mutex<State>,
    /// Number of entries that fit into the kernel's map.
    room: usize,
}

struct State {
    owners: Owners,
    ledger: Ledger,
    /// The kernel's counts when they were last read.
    seen: HashMap<Owned, Seen>,
    seen_others: HashMap<Signature, u64>,
    /// Number of entries announced since the kernel's counts were last read.
    announced: usize,
}

#[derive(Clone, Copy)]
struct Seen {
    count: u64,
    changed: Instant,
}

/// The kernel's counts are read when one part in this many of its map may have filled since the
/// last time.
const LOOKS: usize = 8;

/// Minimum time between two such looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Series of one scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) series: Vec<(Key, u64)>,
    /// Number of entries in the kernel's map.
    pub(crate) entries: usize,
    /// Current accept queues.
    pub(crate) queues: Vec<Queue>,
}

impl Services {
    /// Creates series, at most `limit` in addition to those of `other`. The kernel's map has `room`
    /// entries.
    pub(crate) fn new(owners: Owners, limit: usize, room: usize) -> Self {
        let (seen, seen_others) = (HashMap::new(), HashMap::new());
        let ledger = Ledger::new(limit);
        let state = State { owners, ledger, seen, seen_others, announced: 0 };
        Self { state: Mutex::new(state), room }
    }

    /// Looks up the names of a cgroup while it exists, because the kernel's map has a new entry for
    /// it. Makes room in the map, if it may fill before the next scrape.
    pub(crate) fn meet(&self, cgroup: u64, counts: &Counts) {
        let mut state = self.state();
        let _remembered = state.owners.service(cgroup, None);
        state.announced += 1;
        if state.announced <= self.room / LOOKS {
            return;
        }
        drop(state);
        // A crowd that comes back for each free place must not keep a CPU busy.
        thread::sleep(PAUSE);
        if let Err(error) = self.look(&mut self.state(), counts) {
            // Perhaps for lack of a free descriptor. The next announcement tries again.
            log::debug!("{error:#}");
        }
    }

    /// Current series; `None` if owners are not counted.
    ///
    /// # Errors
    /// When the kernel's counts cannot be read.
    pub(crate) fn read(&self, counts: &Counts) -> anyhow::Result<Option<Page>> {
        let mut state = self.state();
        let Some(entries) = self.look(&mut state, counts)? else { return Ok(None) };
        Ok(Some(Page { series: state.ledger.show(), entries, queues: Vec::new() }))
    }

    /// The fullest accept queue of each service, or of each of its ports if they are distinguished.
    pub(crate) fn queues(&self, listeners: &[ListenerState], by_port: bool) -> Vec<Queue> {
        let State { owners, ledger, .. } = &mut *self.state();
        let services = listeners.iter().map(|listener| {
            let service = owners.service(listener.cgroup_id, None);
            (Labels::from(&*service), if by_port { listener.port } else { 0 }, *listener)
        });
        queues::fullest(services, ledger.limit())
    }

    /// Counts what has been added, and makes room. Returns the number of entries that the kernel's
    /// map had.
    fn look(&self, state: &mut State, counts: &Counts) -> anyhow::Result<Option<usize>> {
        let Some(counted) = counts.owned()? else { return Ok(None) };
        let entries = counted.owned.len();
        state.announced = 0;
        let mut leaving = state.take(counted, Instant::now());
        leaving.extend(state.crowd(self.room));
        for owned in leaving {
            state.forget(&owned, || counts.forget(&owned));
        }
        Ok(Some(entries))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts what has been added. Returns what has gone and can be [forgotten](Self::forget).
    fn take(&mut self, counted: OwnedCounts, now: Instant) -> Vec<Owned> {
        let (mut postings, mut gone) = (Vec::new(), Vec::new());
        for (owned, count) in counted.owned {
            let seen = self.seen.entry(owned).or_insert(Seen { count: 0, changed: now });
            let added = count.saturating_sub(seen.count);
            if added == 0 {
                if now.duration_since(seen.changed) >= IDLE && self.owners.is_gone(owned.cgroup_id)
                {
                    gone.push(owned);
                }
                continue;
            }
            *seen = Seen { count, changed: now };
            let Some(meaning) = meaning(owned.signature) else { continue };
            let labels = Arc::new(Labels::from(&*self.owners.service(owned.cgroup_id, None)));
            let key = Key { labels, meaning, service_port: owned.service_port };
            postings.push(Posting { key, cgroup: owned.cgroup_id, count: added });
        }
        self.ledger.post(now, postings);
        for (signature, count) in counted.others {
            let seen = self.seen_others.entry(signature).or_default();
            let added = count.saturating_sub(std::mem::replace(seen, count));
            if let Some(meaning) = meaning(signature).filter(|_| added > 0) {
                self.ledger.post_other(meaning, added);
            }
        }
        let owners = &mut self.owners;
        self.ledger.expire(now, |cgroup| owners.is_gone(cgroup));
        gone
    }

    /// Entries that the services with the most give up to make room for others: those that have not
    /// changed for longest. Events counted in them at this very moment are missing in the series by
    /// service, at the expense of the crowd itself.
    fn crowd(&mut self, room: usize) -> Vec<Owned> {
        if self.seen.len() <= room / crowd::FULL {
            return Vec::new();
        }
        let mut services: HashMap<Labels, Vec<(Instant, Owned)>> = HashMap::new();
        for (owned, seen) in &self.seen {
            let labels = Labels::from(&*self.owners.service(owned.cgroup_id, None));
            services.entry(labels).or_default().push((seen.changed, *owned));
        }
        let sizes = services.values().map(Vec::len).collect();
        let Some(share) = crowd::share(room, sizes) else { return Vec::new() };
        let excess = |mut entries: Vec<(Instant, Owned)>| {
            entries.sort_unstable();
            entries.truncate(entries.len().saturating_sub(share));
            entries.into_iter().map(|(_, owned)| owned)
        };
        services.into_values().flat_map(excess).collect()
    }

    /// Forgets how far an owner was counted, if its count is `removed`. If the count stayed, all of
    /// it would be counted again.
    fn forget(&mut self, owned: &Owned, removed: impl FnOnce() -> bool) {
        if removed() {
            self.seen.remove(owned);
        }
    }
}

/// Meaning of a signature, if it is counted by service.
fn meaning(signature: Signature) -> Option<Meaning> {
    match signature.kind {
        SLOW_ACCEPT => return Some(Meaning::SlowAccept(signature.errno.into())),
        LISTENER_DROPS => return Some(Meaning::Dropped { is_full: signature.errno == 1 }),
        _ => {}
    }
    let (found, is_undelivered) = match diagnose(signature) {
        Finding::Failure(found) => (found, false),
        Finding::Undelivered(found) => (found, true),
        Finding::Delivery(_) | Finding::Retransmission | Finding::ResetSent(_) => return None,
    };
    Some(Meaning::Failure(Failure {
        protocol: Protocol::try_from(signature.protocol).ok(),
        cause: found.cause,
        errno: found.errno,
        is_undelivered,
    }))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use socktrace_diagnosis::{Cause, Errno};
    use socktrace_ebpf::{EventKind, Flags, Origin, TcpState};

    use super::*;
    use crate::owner::Service;

    /// A unit with a port, and the others.
    pub(in crate::metrics) fn page() -> Page {
        let unit = Service { unit: Some("nginx.service".to_owned()), ..Service::default() };
        let (protocol, cause, errno) = (Some(Protocol::Tcp), Cause::ResetByPeer, Errno(104));
        let failure =
            |is_undelivered| Meaning::Failure(Failure { protocol, cause, errno, is_undelivered });
        let key =
            |labels, meaning, service_port| Key { labels: Arc::new(labels), meaning, service_port };
        let of_unit = |meaning| key(Labels::from(&unit), meaning, 443);
        let series = vec![
            (of_unit(failure(false)), 5),
            (of_unit(failure(true)), 2),
            (key(Labels::other(), failure(false), 0), 7),
            (of_unit(Meaning::Dropped { is_full: true }), 17),
            (of_unit(Meaning::Dropped { is_full: false }), 4),
            (of_unit(Meaning::SlowAccept(1)), 3),
            (of_unit(Meaning::SlowAccept(4)), 1),
            (of_unit(Meaning::SlowAccept(5)), 20_150),
        ];
        let labels = Labels::from(&unit);
        let queues = vec![Queue { labels, service_port: 443, waiting: 129, limit: 128 }];
        Page { series, entries: 3, queues }
    }

    fn reset() -> Signature {
        Signature {
            kind: EventKind::ConnectionEnded as u8,
            origin: Origin::Reset as u8,
            state: TcpState::Established as u8,
            errno: 104,
            protocol: Protocol::Tcp as u8,
            ..Signature::default()
        }
    }

    fn owned(cgroup_id: u64) -> Owned {
        Owned { cgroup_id, signature: reset(), ..Owned::default() }
    }

    fn state() -> State {
        Services::new(Owners::nowhere(), 10, 10).state.into_inner().expect("nobody panicked")
    }

    fn total(state: &State) -> u64 {
        state.ledger.series().map(|(_, count)| count).sum()
    }

    #[test]
    fn only_what_was_added_is_counted_again() {
        let (mut state, now) = (state(), Instant::now());
        let counted = |count, others| OwnedCounts {
            owned: BTreeMap::from([(owned(0), count)]),
            others: BTreeMap::from([(reset(), others)]),
        };
        for (count, others) in [(3, 0), (3, 2), (5, 2), (5, 2)] {
            assert!(state.take(counted(count, others), now).is_empty());
            assert_eq!(total(&state), count + others);
        }
    }

    #[test]
    fn who_has_gone_is_forgotten_once_idle() {
        let (mut state, now) = (state(), Instant::now());
        let counted = || OwnedCounts {
            // There are no cgroups here, so this one has gone. An unknown one cannot go.
            owned: BTreeMap::from([(owned(0), 1), (owned(7), 1)]),
            ..OwnedCounts::default()
        };
        assert!(state.take(counted(), now).is_empty());
        assert!(state.take(counted(), now + IDLE / 2).is_empty());
        assert_eq!(state.take(counted(), now + IDLE), [owned(7)]);
        // It could not be removed: the next look tries again, and it counts once.
        state.forget(&owned(7), || false);
        assert_eq!(state.take(counted(), now + IDLE), [owned(7)]);
        assert_eq!(total(&state), 2);
        state.forget(&owned(7), || true);
        // If it comes back, it is counted from the start.
        assert!(state.take(counted(), now + IDLE).is_empty());
        assert_eq!(total(&state), 3);
    }

    #[test]
    fn a_crowd_gives_up_what_it_has_left_for_longest() {
        let (mut state, now) = (state(), Instant::now());
        let counted = |ids: std::ops::Range<u64>| OwnedCounts {
            owned: ids.map(|id| (owned(id), 1)).collect(),
            ..OwnedCounts::default()
        };
        state.take(counted(1..6), now);
        assert_eq!(state.crowd(10), []);
        state.take(counted(6..9), now + IDLE / 2);
        // Nobody can be named here, so all of them are one crowd.
        let mut leaving = state.crowd(10);
        leaving.sort_unstable();
        assert_eq!(leaving, [owned(1), owned(2), owned(3)]);
        for owned in leaving {
            state.forget(&owned, || true);
        }
        assert_eq!(state.crowd(10), []);
        assert_eq!(total(&state), 8);
    }

    #[test]
    fn deliveries_are_no_failures() {
        let delivery =
            Signature { kind: EventKind::Write as u8, flags: Flags::DELIVERY.0, ..reset() };
        assert_eq!(meaning(delivery), None);
        assert!(meaning(reset()).is_some());
    }
}
