//! When to try again.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The first wait, before chance.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait of its own accord.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest that a collector can ask for: a slip of its would else silence this host for good.
const LONGEST_ASKED: Duration = Duration::from_mins(5);

/// Waits that become longer with each failure. Chance keeps hosts apart that fail at the same time.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure: as asked, else from half to all of a time that doubles.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        match asked {
            // Chance is added: all hosts are asked for the same.
            Some(asked) => asked.min(LONGEST_ASKED) + FIRST.mul_f64(chance()),
            None => most.mul_f64(0.5 + chance() / 2.0),
        }
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without random numbers waits are the shortest, and still become longer.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 0.0,
    }
}

/// Reads a header `Retry-After`: seconds, or the date of HTTP. `None` when it is neither.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(text).ok()?;
    let now = Timestamp::try_from(now).ok()?;
    // One that has passed asks for nothing.
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
