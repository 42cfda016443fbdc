//! Reads the kernel's counts of floods while there are any, and reports what has been added.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    time::Duration,
};

use socktrace_ebpf::{Repeats, repeats::KINDS};
use tokio::time::{Instant, sleep_until};

use crate::kernel::repeats::{Kind, RepeatMaps};

/// Time between two looks. What is pending when a window ends is reported within a second.
const INTERVAL: Duration = Duration::from_millis(900);

/// Number of kinds in a map above which kinds that are not floods lose their place: nothing is
/// counted in them. Otherwise many cgroups or ports of one party would crowd out everybody's
/// floods.
const CROWDED: usize = KINDS * 3 / 4;

/// Events of one kind counted since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) kind: Kind,
    pub(super) count: u64,
    /// Time before the first of these events, in nanoseconds since boot.
    pub(super) since_ns: u64,
    pub(super) repeats: Repeats,
}

/// Function that finds what has been added, given the kernel's total count just before.
pub(super) type Look = fn(&mut Floods, anyhow::Result<u64>) -> anyhow::Result<Vec<Added>>;

/// Floods in progress, as of the last look.
pub(super) struct Floods {
    maps: RepeatMaps,
    ledger: Ledger,
    /// When to look again; `None` while nothing can have been counted.
    due: Option<Instant>,
    /// Events lost in the kernel, as of the last look.
    lost: u64,
}

impl Floods {
    pub(super) fn new(maps: RepeatMaps) -> Self {
        Self { maps, ledger: Ledger::default(), due: None, lost: 0 }
    }

    /// Starts looking at the counts, after the kernel has sent an event that requests it.
    pub(super) fn watch(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + INTERVAL);
    }

    /// Starts looking if events were lost, as one that requests it may be among them.
    pub(super) fn watch_if_lost(&mut self, total: u64) {
        if std::mem::replace(&mut self.lost, total) != total {
            self.watch();
        }
    }

    /// Waits until it is time to look; forever while nothing can have been counted.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Returns what has been added. Forgets kinds without events since the last look, and, if there
    /// are many kinds, all that are not floods. Looks again later if other kinds had events. See
    /// [`Look`] for `total`.
    ///
    /// # Errors
    /// When the counts cannot be read. The next look tries again.
    pub(super) fn look(&mut self, total: anyhow::Result<u64>) -> anyhow::Result<Vec<Added>> {
        self.due = Some(Instant::now() + INTERVAL);
        let (total, now) = (total?, self.maps.read()?);
        let added = self.ledger.add(&now, total);
        for kind in self.ledger.dispensable(&now) {
            // A kind that stays must not be counted in full again.
            match self.maps.forget(&kind) {
                Ok(()) => self.ledger.forget(&kind),
                Err(error) => log::debug!("{error:#}"),
            }
        }
        if self.ledger.is_empty() {
            self.due = None;
        }
        Ok(added)
    }

    /// Returns what has been added, at any time, without forgetting anything.
    ///
    /// # Errors
    /// When the counts cannot be read.
    pub(super) fn take(&mut self, total: anyhow::Result<u64>) -> anyhow::Result<Vec<Added>> {
        let total = total?;
        Ok(self.ledger.add(&self.maps.read()?, total))
    }

    /// Events that were counted in floods but are in no entry: an entry was forgotten just when a
    /// new flood of its kind had begun.
    pub(super) fn unattributed(&self) -> u64 {
        self.ledger.unattributed
    }
}

/// Reported counts of each kind.
#[derive(Default)]
struct Ledger {
    kinds: HashMap<Kind, Entry>,
    attributed: u64,
    unattributed: u64,
}

#[derive(Default)]
struct Entry {
    count: u64,
    until_ns: u64,
    /// Window at the last look; `None` before the first.
    window: Option<(u64, u64)>,
}

impl Ledger {
    /// Returns what has been added since the last time.
    fn add(&mut self, now: &BTreeMap<Kind, Repeats>, total: u64) -> Vec<Added> {
        let mut added = Vec::new();
        for (kind, repeats) in now {
            let entry = self.kinds.entry(*kind).or_default();
            let count = repeats.count.saturating_sub(entry.count);
            if count == 0 {
                continue;
            }
            let since_ns = repeats.since_ns.max(entry.until_ns);
            added.push(Added { kind: *kind, count, since_ns, repeats: *repeats });
            (entry.count, entry.until_ns) = (repeats.count, repeats.last_ns);
            self.attributed += count;
        }
        self.unattributed = self.unattributed.max(total.saturating_sub(self.attributed));
        added
    }

    /// Kinds that are not floods: those without events since the last time, or all of them if there
    /// are many.
    fn dispensable(&mut self, now: &BTreeMap<Kind, Repeats>) -> Vec<Kind> {
        let of_any_port = now.keys().filter(|kind| kind.of_any_port).count();
        let by_port = now.len() - of_any_port;
        let mut dispensable = Vec::new();
        for (kind, repeats) in now {
            let Some(entry) = self.kinds.get_mut(kind) else { continue };
            let window = Some((repeats.window_ns, repeats.in_window));
            let rests = std::mem::replace(&mut entry.window, window) == window;
            let beside = if kind.of_any_port { of_any_port } else { by_port };
            if rests || (beside >= CROWDED && repeats.flooding == 0) {
                dispensable.push(*kind);
            }
        }
        dispensable
    }

    fn forget(&mut self, kind: &Kind) {
        self.kinds.remove(kind);
    }

    fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::Owned;

    use super::*;

    fn kind(cgroup_id: u64) -> Kind {
        let owned = Owned { cgroup_id, ..Owned::default() };
        Kind { owned, by_cgroup: true, of_any_port: false }
    }

    /// Counts of a kind: this many events, the last at this time, in this window.
    fn repeats(count: u64, last_ns: u64, window_ns: u64) -> Repeats {
        Repeats { count, since_ns: 10, last_ns, window_ns, ..Repeats::NONE }
    }

    #[test]
    fn each_look_reports_what_was_added() {
        let mut ledger = Ledger::default();
        let mut now = BTreeMap::from([(kind(1), repeats(5, 20, 1)), (kind(2), repeats(0, 0, 1))]);
        let reported = |added: Vec<Added>| -> Vec<_> {
            added.iter().map(|one| (one.kind, one.count, one.since_ns)).collect()
        };
        assert_eq!(reported(ledger.add(&now, 5)), [(kind(1), 5, 10)]);
        assert_eq!(reported(ledger.add(&now, 5)), []);
        now.insert(kind(1), repeats(12, 40, 2));
        now.insert(kind(2), repeats(1, 30, 2));
        assert_eq!(reported(ledger.add(&now, 13)), [(kind(1), 7, 20), (kind(2), 1, 10)]);
        assert_eq!(ledger.unattributed, 0);
    }

    #[test]
    fn a_kind_is_forgotten_once_it_rests() {
        let mut ledger = Ledger::default();
        let mut now = BTreeMap::from([(kind(1), repeats(5, 20, 1)), (kind(2), repeats(5, 20, 1))]);
        ledger.add(&now, 10);
        assert_eq!(ledger.dispensable(&now), []);
        now.insert(kind(2), repeats(6, 30, 2));
        ledger.add(&now, 11);
        assert_eq!(ledger.dispensable(&now), [kind(1)]);
        // An entry that could not be removed stays, and is not counted again.
        assert_eq!(ledger.add(&now, 11), []);
        assert_eq!(ledger.dispensable(&now), [kind(1), kind(2)]);
        now.clear();
        ledger.forget(&kind(1));
        ledger.forget(&kind(2));
        assert!(ledger.is_empty());
        assert_eq!(ledger.add(&now, 11), []);
    }

    #[test]
    fn a_crowd_keeps_its_place_only_where_it_floods() {
        let mut ledger = Ledger::default();
        let crowd = |count: usize, window_ns| -> BTreeMap<Kind, Repeats> {
            let flood = (kind(0), Repeats { flooding: 1, ..repeats(5, 20, window_ns) });
            let others = (1..count as u64).map(|id| (kind(id), repeats(0, 0, window_ns)));
            others.chain([flood]).collect()
        };
        ledger.add(&crowd(CROWDED, 1), 5);
        let found = ledger.dispensable(&crowd(CROWDED, 2));
        assert_eq!(found.len(), CROWDED - 1);
        assert!(!found.contains(&kind(0)));
        // As long as there is room, no kind with events is forgotten.
        assert_eq!(ledger.dispensable(&crowd(CROWDED - 1, 3)), []);
        // The number of kinds in the other map does not matter.
        let mut now = crowd(CROWDED - 1, 4);
        now.insert(Kind { of_any_port: true, ..kind(1) }, repeats(0, 0, 4));
        ledger.add(&now, 5);
        assert_eq!(ledger.dispensable(&now).len(), 0);
    }

    #[test]
    fn what_was_counted_in_a_forgotten_entry_is_not_forgotten() {
        let mut ledger = Ledger::default();
        let now = BTreeMap::from([(kind(1), repeats(5, 20, 1))]);
        ledger.add(&now, 5);
        ledger.forget(&kind(1));
        // Three more came just before the entry was removed.
        ledger.add(&BTreeMap::new(), 8);
        assert_eq!(ledger.unattributed, 3);
        let added = ledger.add(&BTreeMap::from([(kind(1), repeats(2, 50, 3))]), 10);
        assert_eq!(added.iter().map(|one| one.count).sum::<u64>(), 2);
        assert_eq!(ledger.unattributed, 3);
    }
}
