//! Time span of a scenario's failures.

use std::time::{Duration, Instant, SystemTime};

use super::claim::Claim;

/// Maximum difference between clocks read one after the other.
pub(super) const CLOCK_SKEW: Duration = Duration::from_millis(20);

/// Time span in which failures are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    began: SystemTime,
    clock: Instant,
}

impl Span {
    pub(super) fn begin() -> Self {
        Self { began: SystemTime::now(), clock: Instant::now() }
    }

    /// A span that began in 1970.
    #[cfg(test)]
    pub(super) fn at_epoch() -> Self {
        Self { began: SystemTime::UNIX_EPOCH, ..Self::begin() }
    }

    /// Time at which an event of this span may have happened.
    pub(super) fn bounds(&self) -> Claim {
        let now = self.began + self.clock.elapsed();
        Claim::Between(self.began - CLOCK_SKEW, now + CLOCK_SKEW)
    }

    /// Duration that an event of this span may have taken, in milliseconds.
    pub(super) fn at_most(&self) -> Claim {
        let elapsed = (self.clock.elapsed() + CLOCK_SKEW).as_millis();
        Claim::Within(0, u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}
