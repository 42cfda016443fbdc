//! Delays before retries.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The first delay, before jitter.
const FIRST: Duration = Duration::from_secs(1);

/// The longest delay, unless the collector requests more.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest delay that a collector can request: otherwise a mistake there would silence this
/// host.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// Delays that grow with each failure. Jitter spreads out hosts that fail at the same time.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Delay after another failure: the requested one, else between half and all of a doubling
    /// time.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        match asked {
            // Jitter is added, because all hosts receive the same request.
            Some(asked) => asked.min(LONGEST_ASKED) + FIRST.mul_f64(chance()),
            None => most.mul_f64(0.5 + chance() / 2.0),
        }
    }

    /// Resets the delay after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without random numbers, delays are the shortest possible but still grow.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 0.0,
    }
}

/// Parses a `Retry-After` header: seconds, or an HTTP date. `None` if it is neither.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(text).ok()?;
    let now = Timestamp::try_from(now).ok()?;
    // A date in the past requests no delay.
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let mut backoff = Backoff::default();
        for most in [1, 2, 4, 8, 16, 30, 30, 30] {
            let (wait, most) = (backoff.wait(None), Duration::from_secs(most));
            assert!((most / 2..=most).contains(&wait), "{wait:?} of {most:?}");
        }
        for _ in 0..100 {
            backoff.wait(None);
        }
        assert!(backoff.wait(None) <= LONGEST);
        backoff.reset();
        assert!(backoff.wait(None) <= FIRST);
    }

    #[test]
    fn a_collector_can_ask_for_time_and_not_for_ever() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(7);
        let wait = backoff.wait(Some(asked));
        assert!((asked..=asked + FIRST).contains(&wait), "{wait:?}");
        assert!(backoff.wait(Some(Duration::from_secs(u64::MAX))) <= LONGEST_ASKED + FIRST);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read(" 0 "), Some(0));
        // The example of RFC 9110 is 784111777 seconds after 1970 began.
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(read("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
        for wrong in ["", "-1", "1.5", "soon", "Sun, 06 Nov", "99999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
