//! Data of the screen: counts by service, process, peer and cause, and the last lines.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use crate::{
    Event, Plain, Severity,
    counts::{Counts, Rate, second_of},
    event::Field,
};

/// Maximum number of stored lines, of some kilobytes each.
pub(crate) const MOST_LINES: usize = 5_000;

/// Maximum number of combinations.
pub(crate) const MOST_LEAVES: usize = 8_192;

/// Additional combinations in which only the peer is replaced, before everything is merged into
/// one.
const ROOM_FOR_OTHERS: usize = 1_024;

/// Replaces peers, or all names, for lack of room.
pub(crate) const OTHERS: &str = "(others)";

/// A combination of service, process, peer and cause.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leaf {
    service: Plain,
    process: Plain,
    peer: Plain,
    cause: Plain,
}

impl Leaf {
    fn of(event: &Event) -> Self {
        let Event { service, process, peer, cause, .. } = event;
        let [service, process, peer, cause] = [service, process, peer, cause].map(Plain::clone);
        Self { service, process, peer, cause }
    }

    pub(crate) const fn field(&self, field: Field) -> &Plain {
        match field {
            Field::Service => &self.service,
            Field::Process => &self.process,
            Field::Peer => &self.peer,
            Field::Cause => &self.cause,
        }
    }
}

/// Counts of one combination.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) severity: Severity,
}

/// All stored data. Its size is bounded.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    leaves: HashMap<Leaf, Tally>,
    /// Lines that pass the filter.
    lines: VecDeque<Rc<Event>>,
    /// Lines that do not pass the filter, stored in case it changes.
    hidden: VecDeque<Rc<Event>>,
    rates: [Rate; 3],
    /// Number of events that were only counted.
    pub(crate) repeated: u64,
    /// The current time, in nanoseconds since 1970.
    pub(crate) now: i64,
    /// The second in which old combinations were last removed.
    swept: i64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            leaves: HashMap::new(),
            lines: VecDeque::new(),
            hidden: VecDeque::new(),
            rates: [const { Rate::new() }; 3],
            repeated: 0,
            now: 0,
            swept: 0,
        }
    }

    /// Adds an event; `is_shown` is whether it passes the filter.
    pub(crate) fn add(&mut self, event: Event, is_shown: bool) {
        self.now = self.now.max(event.time);
        if event.is_flood && is_shown {
            self.repeated += event.count;
        }
        let event = Rc::new(event);
        let lines = if is_shown { &mut self.lines } else { &mut self.hidden };
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(Rc::clone(&event));
        if is_shown && event.is_failure {
            self.count(&event);
        }
    }

    fn count(&mut self, event: &Event) {
        for (severity, rate) in Severity::OF_FAILURES.iter().zip(&mut self.rates) {
            if *severity == event.severity {
                rate.add(event.time, event.count);
            }
        }
        let mut leaf = Leaf::of(event);
        if !self.leaves.contains_key(&leaf) {
            self.sweep();
            let others = || Plain::new(OTHERS);
            if self.leaves.len() >= MOST_LEAVES {
                leaf.peer = others();
            }
            let is_full = self.leaves.len() >= MOST_LEAVES + ROOM_FOR_OTHERS;
            if is_full && !self.leaves.contains_key(&leaf) {
                let [service, process, peer, cause] = [(); 4].map(|()| others());
                leaf = Leaf { service, process, peer, cause };
            }
        }
        let tally = self
            .leaves
            .entry(leaf)
            .or_insert_with(|| Tally { counts: Counts::new(event.time), severity: event.severity });
        tally.counts.add(event.time, event.count);
        tally.severity = tally.severity.max(event.severity);
    }

    /// Removes combinations without recent events if there is no room.
    fn sweep(&mut self) {
        let second = second_of(self.now);
        if self.leaves.len() < MOST_LEAVES || self.swept == second {
            return;
        }
        self.swept = second;
        let now = self.now;
        self.leaves.retain(|_, tally| !tally.counts.is_over(now));
    }

    /// Applies another filter. Counts start over from the stored lines.
    pub(crate) fn filter(&mut self, admits: impl Fn(&Event) -> bool) {
        let mut all: Vec<_> = self.lines.drain(..).chain(self.hidden.drain(..)).collect();
        all.sort_by_key(|event| event.time);
        let now = self.now;
        let (mut lines, mut hidden) = (VecDeque::new(), VecDeque::new());
        *self = Self { now, ..Self::new() };
        for event in all {
            if !admits(&event) {
                hidden.push_back(event);
                continue;
            }
            if event.is_flood {
                self.repeated += event.count;
            }
            if event.is_failure {
                self.count(&event);
            }
            lines.push_back(event);
        }
        for lines in [&mut lines, &mut hidden] {
            lines.drain(..lines.len().saturating_sub(MOST_LINES));
        }
        (self.lines, self.hidden) = (lines, hidden);
    }

    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&Leaf, &Tally)> {
        self.leaves.iter()
    }

    /// The lines that pass the filter, oldest first.
    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &Rc<Event>> {
        self.lines.iter()
    }

    /// Failures per second by severity, worst first.
    pub(crate) fn rates(&self, seconds: usize) -> [Vec<u32>; 3] {
        self.rates.each_ref().map(|rate| rate.last(self.now, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::event;

    #[test]
    fn whatever_comes_there_is_an_end_to_what_is_kept() {
        let mut model = Model::new();
        let rows = 3 * u64::try_from(MOST_LEAVES).expect("small");
        for number in 0..rows {
            let mut event = event(1_000 + number / 1_000, "reset_by_peer");
            event.peer = Plain::new(&number.to_string());
            event.service = Plain::new(&format!("service-{}", number % 2_000));
            model.add(event, number % 4 != 0);
        }
        assert_eq!((model.lines.len(), model.hidden.len()), (MOST_LINES, MOST_LINES));
        assert_eq!(model.leaves.len(), MOST_LEAVES + ROOM_FOR_OTHERS + 1);
        let all: u64 = model.leaves().map(|(_, tally)| tally.counts.sums(model.now).quarter).sum();
        assert_eq!(all, rows - rows.div_ceil(4), "none is left out");
        let of_service = |name: &str| -> u64 {
            let leaves =
                model.leaves().filter(|(leaf, _)| leaf.field(Field::Service).as_str() == name);
            leaves.map(|(_, tally)| tally.counts.sums(model.now).quarter).sum()
        };
        assert_eq!(of_service("service-1"), 13, "a service keeps its number without its peers");

        // There is room again later.
        model.add(event(9_000, "reset_by_peer"), true);
        assert_eq!(model.leaves.len(), 1);
    }

    #[test]
    fn another_filter_applies_to_what_came_before() {
        let mut model = Model::new();
        for time in 0..10 {
            model.add(event(time, if time % 2 == 0 { "refused" } else { "reset_by_peer" }), true);
        }
        model.filter(|event| event.cause.as_str() == "refused");
        assert_eq!((model.lines.len(), model.hidden.len(), model.leaves.len()), (5, 5, 1));
        model.add(event(11, "refused"), true);
        model.filter(|_| true);
        let times: Vec<_> = model.lines().map(|line| second_of(line.time)).collect();
        assert_eq!(times, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
        assert_eq!(model.leaves.len(), 2);
    }
}
