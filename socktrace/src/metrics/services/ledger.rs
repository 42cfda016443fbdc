//! Keeps the series of services within a bound. Each is a counter that never falls.
//!
//! A count belongs to a series, or to `other`, from the start: it does not move between them, so
//! that neither can fall or jump. A service gets a series while there is room. Otherwise it
//! replaces the one that has been idle for longest, if that was long enough for everybody to see
//! its last count, or else one of the service with the most, if the newcomer has fewer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use socktrace_diagnosis::{Cause, Errno};
use socktrace_ebpf::Protocol;

use super::labels::Labels;

/// Time that a series stays after its last change if its place is wanted, or its service has gone:
/// as long as Prometheus looks back for the last value.
pub(crate) const IDLE: Duration = Duration::from_mins(5);

/// Meaning of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// Sockets that failed.
    Failure(Failure),
    /// Connections that waited to be accepted, in a slot of a histogram.
    SlowAccept(usize),
    /// Handshake packets dropped by listeners, and whether the accept queue was full.
    Dropped { is_full: bool },
}

/// A failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Failure {
    /// `None` if a call's descriptor led to no socket.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) cause: Cause,
    pub(crate) errno: Errno,
    /// Whether it is the close of a socket whose errno no call had returned, instead of the
    /// failure.
    pub(crate) is_undelivered: bool,
}

/// Identity of a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) labels: Arc<Labels>,
    pub(crate) meaning: Meaning,
    /// 0 if unknown, or not requested.
    pub(crate) service_port: u16,
}

/// An increase that was not counted before.
#[derive(Clone, Debug)]
pub(super) struct Posting {
    pub(super) key: Key,
    pub(super) cgroup: u64,
    pub(super) count: u64,
}

struct Series {
    count: u64,
    /// Count when the series were last shown.
    shown: u64,
    changed: Instant,
    /// The cgroup that counted last.
    cgroup: u64,
}

/// The series.
pub(super) struct Ledger {
    limit: usize,
    series: HashMap<Key, Series>,
    other: BTreeMap<Meaning, u64>,
}

impl Ledger {
    /// Creates a ledger for this many series, in addition to those of `other`.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, series: HashMap::new(), other: BTreeMap::new() }
    }

    /// Maximum number of series.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Counts the increases of services.
    pub(super) fn post(&mut self, now: Instant, postings: Vec<Posting>) {
        let mut newcomers: HashMap<Key, Posting> = HashMap::new();
        for posting in postings {
            if let Some(series) = self.series.get_mut(&posting.key) {
                series.count += posting.count;
                (series.changed, series.cgroup) = (now, posting.cgroup);
            } else if let Some(known) = newcomers.get_mut(&posting.key) {
                known.count += posting.count;
            } else {
                newcomers.insert(posting.key.clone(), posting);
            }
        }
        let mut newcomers: Vec<_> = newcomers.into_values().collect();
        // The most active first; equally active ones always in the same order.
        newcomers.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
        self.make_room(now, newcomers.len());
        let mut held = self.held();
        for Posting { key, cgroup, count } in newcomers {
            if self.series.len() >= self.limit && !self.displace(&mut held, &key.labels) {
                self.post_other(key.meaning, count);
                continue;
            }
            *held.entry(Arc::clone(&key.labels)).or_default() += 1;
            self.series.insert(key, Series { count, shown: 0, changed: now, cgroup });
        }
    }

    /// Number of series of each service.
    fn held(&self) -> HashMap<Arc<Labels>, usize> {
        let mut held = HashMap::new();
        for key in self.series.keys() {
            *held.entry(Arc::clone(&key.labels)).or_default() += 1;
        }
        held
    }

    /// Makes room for a series of a service, by removing one of the service with the most:
    /// otherwise one service could have them all, one for each port. Returns whether there was a
    /// service with more than the newcomer will have. Counts of the removed series that nobody has
    /// seen yet go to the others.
    fn displace(&mut self, held: &mut HashMap<Arc<Labels>, usize>, newcomer: &Arc<Labels>) -> bool {
        let own = held.get(newcomer).copied().unwrap_or_default();
        let Some((most, count)) = held.iter_mut().max_by_key(|(_, count)| **count) else {
            return false;
        };
        if *count <= own + 1 {
            return false;
        }
        let theirs = self.series.iter().filter(|(key, _)| key.labels == *most);
        let Some(key) = theirs.min_by_key(|(_, series)| series.changed).map(|(key, _)| key.clone())
        else {
            return false;
        };
        *count -= 1;
        if let Some(Series { count, shown, .. }) = self.series.remove(&key)
            && count > shown
        {
            self.post_other(key.meaning, count - shown);
        }
        true
    }

    /// Counts increases of services without series.
    pub(super) fn post_other(&mut self, meaning: Meaning, count: u64) {
        *self.other.entry(meaning).or_default() += count;
    }

    /// Drops series of services that have gone.
    pub(super) fn expire(&mut self, now: Instant, mut is_gone: impl FnMut(u64) -> bool) {
        self.series.retain(|_, series| !(series.is_idle(now) && is_gone(series.cgroup)));
    }

    /// Returns every series and its count, which counts as seen from now on.
    pub(super) fn show(&mut self) -> Vec<(Key, u64)> {
        for series in self.series.values_mut() {
            series.shown = series.count;
        }
        self.series().collect()
    }

    /// Every series and its count.
    pub(super) fn series(&self) -> impl Iterator<Item = (Key, u64)> {
        let other = Arc::new(Labels::other());
        let others = self.other.iter().map(move |(meaning, count)| {
            let labels = Arc::clone(&other);
            (Key { labels, meaning: *meaning, service_port: 0 }, *count)
        });
        self.series.iter().map(|(key, series)| (key.clone(), series.count)).chain(others)
    }

    fn make_room(&mut self, now: Instant, wanted: usize) {
        let excess = (self.series.len() + wanted).saturating_sub(self.limit);
        if excess == 0 {
            return;
        }
        let mut idle: Vec<_> =
            self.series.iter().filter(|(_, series)| series.is_idle(now)).collect();
        idle.sort_unstable_by_key(|(_, series)| series.changed);
        let gone: Vec<_> = idle.into_iter().take(excess).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.series.remove(&key);
        }
    }
}

impl Series {
    fn is_idle(&self, now: Instant) -> bool {
        now.duration_since(self.changed) >= IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Service;

    const MEANING: Meaning = Meaning::Failure(Failure {
        protocol: Some(Protocol::Tcp),
        cause: Cause::ResetByPeer,
        errno: Errno(104),
        is_undelivered: false,
    });

    fn key(unit: &str) -> Key {
        let service = Service { unit: Some(unit.to_owned()), ..Service::default() };
        Key { labels: Arc::new(Labels::from(&service)), meaning: MEANING, service_port: 0 }
    }

    fn posting(unit: &str, count: u64) -> Posting {
        Posting { key: key(unit), cgroup: unit.len() as u64, count }
    }

    fn counts(ledger: &Ledger) -> BTreeMap<String, u64> {
        ledger.series().map(|(key, count)| (key.labels.values()[0].to_owned(), count)).collect()
    }

    #[test]
    fn the_most_active_get_a_series_and_all_is_counted() {
        let (mut ledger, now) = (Ledger::new(2), Instant::now());
        ledger.post(now, vec![posting("a", 1), posting("b", 5), posting("c", 3), posting("b", 1)]);
        let expected =
            [("b", 6), ("c", 3), ("other", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts(&ledger), BTreeMap::from(expected));
        ledger.post(now, vec![posting("a", 100), posting("c", 1)]);
        assert_eq!(counts(&ledger)["other"], 101);
        assert_eq!(counts(&ledger).values().sum::<u64>(), 111);
    }

    #[test]
    fn the_idlest_makes_room_and_no_count_falls() {
        let (mut ledger, start) = (Ledger::new(2), Instant::now());
        ledger.post(start, vec![posting("a", 1)]);
        ledger.post(start + IDLE / 2, vec![posting("b", 1)]);
        ledger.post(start + IDLE, vec![posting("c", 2), posting("d", 1)]);
        let expected =
            [("b", 1), ("c", 2), ("other", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts(&ledger), BTreeMap::from(expected));
        // A series that comes back starts at zero again.
        ledger.post(start + IDLE * 2, vec![posting("a", 4)]);
        assert_eq!(counts(&ledger)["a"], 4);
        assert_eq!(counts(&ledger)["other"], 1);
    }

    #[test]
    fn whoever_has_the_most_series_makes_room() {
        let (mut ledger, now) = (Ledger::new(4), Instant::now());
        let of_port = |unit: &str, service_port| {
            let Posting { key, cgroup, .. } = posting(unit, 1);
            Posting { key: Key { service_port, ..key }, cgroup, count: 1 }
        };
        ledger.post(now, (0..4).map(|port| of_port("ports", port)).collect());
        assert_eq!(ledger.show().len(), 4);
        ledger.post(now, vec![posting("a", 7), posting("b", 2)]);
        let expected = [("a", 7), ("b", 2)].map(|(name, count)| (name.to_owned(), count));
        let found = counts(&ledger);
        assert!(expected.iter().all(|(name, count)| found[name] == *count), "{found:?}");
        assert_eq!(ledger.series.len(), 4);
        // Each service has one series, or two, and nobody takes another's.
        ledger.post(now, vec![of_port("ports", 9), posting("c", 1), posting("d", 1)]);
        assert_eq!(counts(&ledger)["other"], 2);
        // Counts seen in removed series are not counted again; everything else is.
        assert_eq!(ledger.series().map(|(_, count)| count).sum::<u64>(), 4 + 9 + 3 - 3);
    }

    #[test]
    fn those_that_have_gone_expire() {
        let (mut ledger, start) = (Ledger::new(9), Instant::now());
        ledger.post(start, vec![posting("a", 1), posting("bb", 1)]);
        ledger.expire(start + IDLE / 2, |_| true);
        assert_eq!(counts(&ledger).len(), 2, "the last count is to be seen by everybody");
        ledger.expire(start + IDLE, |cgroup| cgroup == 1);
        assert_eq!(counts(&ledger).keys().collect::<Vec<_>>(), ["bb"]);
    }
}
