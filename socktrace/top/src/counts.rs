//! Recent numbers of events.

/// Length of the "now" window in seconds.
pub(crate) const NOW: usize = 5;

const SECONDS: usize = 60;
const MINUTES: usize = 15;

/// Counts over time: by second for a minute, by minute for a quarter of an hour. Their size is
/// bounded.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// The newest second.
    at: i64,
    seconds: [u32; SECONDS],
    minutes: [u32; MINUTES],
    /// Times of the first and the last event in nanoseconds.
    first: i64,
    last: i64,
}

/// Sums over the time windows that end at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) now: u64,
    pub(crate) minute: u64,
    pub(crate) quarter: u64,
}

impl Sums {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            now: self.now + other.now,
            minute: self.minute + other.minute,
            quarter: self.quarter + other.quarter,
        }
    }
}

/// Whole seconds of a time in nanoseconds.
pub(crate) const fn second_of(time: i64) -> i64 {
    time.div_euclid(1_000_000_000)
}

impl Counts {
    pub(crate) const fn new(time: i64) -> Self {
        let at = second_of(time);
        Self { at, seconds: [0; SECONDS], minutes: [0; MINUTES], first: time, last: time }
    }

    pub(crate) const fn span(&self) -> (i64, i64) {
        (self.first, self.last)
    }

    /// Adds events with this time, which need not be the newest.
    pub(crate) fn add(&mut self, time: i64, count: u64) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        let second = second_of(time);
        self.advance(second);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.at - second < len(&self.seconds) {
            let bucket = &mut self.seconds[slot(second, SECONDS)];
            *bucket = bucket.saturating_add(count);
        }
        if minute(self.at) - minute(second) < len(&self.minutes) {
            let bucket = &mut self.minutes[slot(minute(second), MINUTES)];
            *bucket = bucket.saturating_add(count);
        }
    }

    /// Advances the windows to a second.
    fn advance(&mut self, second: i64) {
        let (from, to) = (self.at, second);
        if to <= from {
            return;
        }
        self.at = to;
        for second in (from + 1).max(to - len(&self.seconds) + 1)..=to {
            self.seconds[slot(second, SECONDS)] = 0;
        }
        let (from, to) = (minute(from), minute(to));
        for minute in (from + 1).max(to - len(&self.minutes) + 1)..=to {
            self.minutes[slot(minute, MINUTES)] = 0;
        }
    }

    /// Sums of the windows that end now.
    pub(crate) fn sums(&self, now: i64) -> Sums {
        let now = second_of(now).max(self.at);
        let of = |age: i64| u64::from(self.seconds[slot(self.at - age, SECONDS)]);
        let later = now - self.at;
        let sum = |span: i64| (0..(span - later).max(0)).map(of).sum();
        let minutes = (minute(now) - minute(self.at)).min(len(&self.minutes));
        let quarter = (0..len(&self.minutes) - minutes)
            .map(|age| u64::from(self.minutes[slot(minute(self.at) - age, MINUTES)]))
            .sum();
        #[expect(clippy::cast_possible_wrap, reason = "a small number")]
        let is = NOW as i64;
        Sums { now: sum(is), minute: sum(len(&self.seconds)), quarter }
    }

    /// Whether all events have left the windows.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        minute(second_of(now)) - minute(self.at) >= len(&self.minutes)
    }
}

const fn minute(second: i64) -> i64 {
    second.div_euclid(60)
}

#[expect(clippy::cast_possible_wrap, reason = "a small number")]
const fn len<const N: usize>(_: &[u32; N]) -> i64 {
    N as i64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small numbers")]
const fn slot(at: i64, count: usize) -> usize {
    at.rem_euclid(count as i64) as usize
}

/// Events per second, for as many seconds as a wide terminal has columns.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    at: i64,
    seconds: [u32; Self::SPAN],
}

impl Rate {
    const SPAN: usize = 240;

    pub(crate) const fn new() -> Self {
        Self { at: i64::MIN / 2, seconds: [0; Self::SPAN] }
    }

    pub(crate) fn add(&mut self, time: i64, count: u64) {
        let second = second_of(time);
        if second > self.at {
            for second in (self.at + 1).max(second - len(&self.seconds) + 1)..=second {
                self.seconds[slot(second, Self::SPAN)] = 0;
            }
            self.at = second;
        }
        if self.at - second < len(&self.seconds) {
            let bucket = &mut self.seconds[slot(second, Self::SPAN)];
            *bucket = bucket.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Counts of the last complete seconds, oldest first.
    pub(crate) fn last(&self, now: i64, seconds: usize) -> Vec<u32> {
        let now = second_of(now);
        #[expect(clippy::cast_possible_wrap, reason = "a small number")]
        let span = seconds.min(Self::SPAN - 1) as i64;
        let of = |second: i64| {
            let is_known = second <= self.at && self.at - second < len(&self.seconds);
            if is_known { self.seconds[slot(second, Self::SPAN)] } else { 0 }
        };
        (now - span..now).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn sums(counts: &Counts, second: i64) -> (u64, u64, u64) {
        let Sums { now, minute, quarter } = counts.sums(second * SECOND);
        (now, minute, quarter)
    }

    #[test]
    fn events_are_in_a_window_until_it_has_passed() {
        let mut counts = Counts::new(600 * SECOND);
        counts.add(600 * SECOND, 3);
        counts.add(601 * SECOND, 1);
        assert_eq!(sums(&counts, 601), (4, 4, 4));
        assert_eq!(sums(&counts, 605), (1, 4, 4));
        assert_eq!(sums(&counts, 606), (0, 4, 4));
        assert_eq!(sums(&counts, 660), (0, 1, 4));
        assert_eq!(sums(&counts, 661), (0, 0, 4));
        // By minute: that of the first events, and fourteen more.
        assert_eq!(sums(&counts, 600 + 15 * 60 - 1), (0, 0, 4));
        assert_eq!(sums(&counts, 600 + 15 * 60), (0, 0, 0));
        assert!(counts.is_over(1_500 * SECOND) && !counts.is_over(1_499 * SECOND));
        assert_eq!(counts.span(), (600 * SECOND, 601 * SECOND));
    }

    #[test]
    fn late_events_are_where_they_belong() {
        let mut counts = Counts::new(1_000 * SECOND);
        counts.add(1_000 * SECOND, 1);
        counts.add(970 * SECOND, 2);
        counts.add(500 * SECOND, 4);
        counts.add(10 * SECOND, 8);
        assert_eq!(sums(&counts, 1_000), (1, 3, 7));
        assert_eq!(counts.span(), (10 * SECOND, 1_000 * SECOND));
        counts.add(1_000 * SECOND, u64::MAX);
        assert_eq!(sums(&counts, 1_000).0, u64::from(u32::MAX));
    }

    #[test]
    fn rates_are_of_whole_seconds() {
        let mut rate = Rate::new();
        assert_eq!(rate.last(100 * SECOND, 3), [0, 0, 0]);
        rate.add(98 * SECOND, 2);
        rate.add(99 * SECOND + 1, 5);
        rate.add(100 * SECOND, 7);
        assert_eq!(rate.last(100 * SECOND, 3), [0, 2, 5]);
        assert_eq!(rate.last(102 * SECOND, 3), [5, 7, 0]);
        rate.add(10_000 * SECOND, 1);
        assert_eq!(rate.last(10_001 * SECOND, 2), [0, 1]);
        assert!(rate.last(10_001 * SECOND, 1_000).len() < Rate::SPAN);
    }

    proptest! {
        #[test]
        fn windows_hold_what_was_in_them(times in proptest::collection::vec(0..2_000_i64, 1..80), after in 0..100_i64) {
            let mut times = times;
            times.sort_unstable();
            let mut counts = Counts::new(times[0] * SECOND);
            for time in &times {
                counts.add(time * SECOND, 1);
            }
            let now = times[times.len() - 1] + after;
            let within = |span: i64| times.iter().filter(|time| now - **time < span).count() as u64;
            let minutes = times.iter().filter(|time| now / 60 - **time / 60 < 15).count() as u64;
            prop_assert_eq!(sums(&counts, now), (within(5), within(60), minutes));
        }
    }
}
