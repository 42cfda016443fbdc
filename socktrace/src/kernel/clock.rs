//! The kernel's clocks: from boot time to the time of day, from jiffies to milliseconds.

use anyhow::Context as _;
use jiff::Timestamp;
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_getres, clock_gettime},
};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_MICRO: u64 = 1_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// Converts between jiffies and other units of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Length of a jiffy in nanoseconds.
    jiffy_ns: u64,
}

impl Clock {
    /// Reads the tick length of the running kernel.
    ///
    /// The coarse clocks advance once per tick, and their resolution is exactly that tick, so there
    /// is no need to find the kernel's `CONFIG_HZ`.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
            .context("cannot read the kernel's tick length")?;
        let jiffy_ns = u64::try_from(nanos(tick)).unwrap_or(0).max(1);
        Ok(Self { jiffy_ns })
    }

    /// Number of jiffies in a second.
    pub(crate) fn hertz(self) -> u32 {
        self.seconds_to_jiffies(1)
    }

    /// Length of a jiffy in whole microseconds.
    pub(crate) fn jiffy_us(self) -> u32 {
        u32::try_from(self.jiffy_ns / NANOS_PER_MICRO).unwrap_or(u32::MAX)
    }

    /// Converts jiffies to whole milliseconds.
    pub(crate) fn jiffies_to_ms(self, jiffies: u32) -> u64 {
        u64::from(jiffies).saturating_mul(self.jiffy_ns) / NANOS_PER_MILLI
    }

    /// Converts whole seconds to jiffies.
    pub(crate) fn seconds_to_jiffies(self, seconds: u32) -> u32 {
        let jiffies = u64::from(seconds) * NANOS_PER_MILLI * 1_000 / self.jiffy_ns;
        u32::try_from(jiffies).unwrap_or(u32::MAX)
    }
}

/// Converts the times of events to the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeOfDay {
    /// Difference between the time of day and the time since boot, in nanoseconds.
    offset: i64,
    /// Time since boot when the offset was determined.
    read_at: i64,
}

impl TimeOfDay {
    /// Converts a time since boot to the time of day. The clocks are read again for times after the
    /// last reading, since the time of day can be set.
    pub(crate) fn of(&mut self, boot_ns: u64) -> Timestamp {
        self.convert(boot_ns, || {
            [ClockId::CLOCK_BOOTTIME, ClockId::CLOCK_REALTIME]
                .map(|clock| clock_gettime(clock).map(nanos).unwrap_or_default())
        })
    }

    /// Converts with these readings of the clocks: time since boot, and time of day.
    fn convert(&mut self, boot_ns: u64, clocks: impl FnOnce() -> [i64; 2]) -> Timestamp {
        let boot_ns = i64::try_from(boot_ns).unwrap_or(i64::MAX);
        if boot_ns >= self.read_at {
            let [boot, day] = clocks();
            (self.read_at, self.offset) = (boot, day.saturating_sub(boot));
        }
        let time = self.offset.saturating_add(boot_ns);
        let second = time.div_euclid(NANOS_PER_SECOND);
        // Less than a second.
        let nanosecond = i32::try_from(time.rem_euclid(NANOS_PER_SECOND)).unwrap_or_default();
        Timestamp::new(second, nanosecond).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Time in nanoseconds, which fits until the year 2262.
fn nanos(time: TimeSpec) -> i64 {
    time.tv_sec().saturating_mul(NANOS_PER_SECOND).saturating_add(time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jiffies_at_250_hz() {
        let clock = Clock { jiffy_ns: 4_000_000 };
        assert_eq!(clock.jiffies_to_ms(0), 0);
        assert_eq!(clock.jiffies_to_ms(250), 1_000);
        assert_eq!(clock.jiffies_to_ms(u32::MAX), 17_179_869_180);
        assert_eq!(clock.seconds_to_jiffies(30), 7_500);
    }

    #[test]
    fn the_tick_is_that_of_a_kernel() {
        let clock = Clock::new().expect("a kernel");
        // CONFIG_HZ is between 24 and 1200 on every architecture.
        assert!((800_000..45_000_000).contains(&clock.jiffy_ns), "{clock:?}");
    }

    #[test]
    fn now_is_now() {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(nanos).expect("a clock");
        let mut clock = TimeOfDay::default();
        let time = clock.of(u64::try_from(boot).expect("since boot"));
        assert!(time.duration_since(Timestamp::now()).abs().as_secs() < 2);
        // Earlier times are converted without reading the clocks again.
        let read_at = clock.read_at;
        let boot_time = clock.of(0);
        assert_eq!(clock.read_at, read_at);
        assert_eq!(time.duration_since(boot_time).as_nanos(), i128::from(boot));
    }

    /// Readings of a host's clocks, in seconds: `since_boot` after it was switched on, with its
    /// time of day moved by `set_by` meanwhile. Both clocks keep running during suspend. The
    /// monotonic clock does not, and no event is dated by it.
    fn clocks(since_boot: i64, set_by: i64) -> [i64; 2] {
        const SWITCHED_ON: i64 = 1_790_000_000;
        [since_boot, SWITCHED_ON + since_boot + set_by].map(|seconds| seconds * NANOS_PER_SECOND)
    }

    fn second(clock: &mut TimeOfDay, since_boot: u64, clocks: [i64; 2]) -> i64 {
        clock.convert(since_boot * 1_000_000_000, || clocks).as_second()
    }

    #[test]
    fn a_suspension_counts() {
        let mut clock = TimeOfDay::default();
        let before = second(&mut clock, 100, clocks(100, 0));
        // The host is suspended for eight hours, and wakes up ten seconds before the next event.
        let after = second(&mut clock, 28_910, clocks(28_910, 0));
        assert_eq!(after - before, 28_810);
    }

    #[test]
    fn what_was_queued_over_a_suspension_keeps_its_time() {
        let mut clock = TimeOfDay::default();
        let [first, second] = [100, 101].map(|at| {
            // Both are read after the host was suspended.
            clock.convert(at * 1_000_000_000, || clocks(28_900, 0)).as_second()
        });
        assert_eq!([first, second], [1_790_000_100, 1_790_000_101]);
    }

    #[test]
    fn a_time_of_day_that_is_set_counts_from_then_on() {
        let mut clock = TimeOfDay::default();
        assert_eq!(second(&mut clock, 100, clocks(100, 0)), 1_790_000_100);
        assert_eq!(second(&mut clock, 200, clocks(200, -3_600)), 1_789_996_600);
        // The time of day at an event is unknown if a later event was read first.
        assert_eq!(second(&mut clock, 150, clocks(201, -3_600)), 1_789_996_550);
    }
}
