//! The time in which something was made to fail.

use std::time::{Duration, Instant, SystemTime};

use super::claim::Claim;

/// Clocks that are read one after the other may differ by so much.
pub(super) const CLOCK_SKEW: Duration = Duration::from_millis(20);

/// While something was made to fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    began: SystemTime,
    clock: Instant,
}

impl Span {
    pub(super) fn begin() -> Self {
        Self { began: SystemTime::now(), clock: Instant::now() }
    }

    /// A span that began with 1970.
    #[cfg(test)]
    pub(super) fn at_epoch() -> Self {
        Self { began: SystemTime::UNIX_EPOCH, ..Self::begin() }
    }

    /// When something of this span may have happened.
    pub(super) fn bounds(&self) -> Claim {
        let now = self.began + self.clock.elapsed();
        Claim::Between(self.began - CLOCK_SKEW, now + CLOCK_SKEW)
    }

    /// How long something of this span may have taken, in milliseconds.
    pub(super) fn at_most(&self) -> Claim {
        let elapsed = (self.clock.elapsed() + CLOCK_SKEW).as_millis();
        Claim::Within(0, u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}
