//! Time spans, as people write them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo, Unit};

/// Maximum interval between two blocks of counts.
pub(super) const DAY: Duration = Duration::from_hours(24);

/// Maximum time to trace.
pub(super) const YEAR: Duration = Duration::from_hours(365 * 24);

/// Parses a span of at least a second.
///
/// # Errors
/// The accepted forms, when the text is none of them or the span is too long.
pub(super) fn read(text: &str, most: Duration) -> Result<Duration, String> {
    let days = SpanRelativeTo::days_are_24_hours();
    let span = text.parse::<Span>().ok();
    let seconds = span.and_then(|span| span.total((Unit::Second, days)).ok());
    let found = seconds.filter(|seconds| (1.0..=most.as_secs_f64()).contains(seconds));
    found.map(Duration::from_secs_f64).ok_or_else(|| {
        let hours = most.as_secs() / 3_600;
        format!("expected a span with its unit, such as 30s, 5m, 1h or 1h 30m, from 1s to {hours}h")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("5m", 300.0),
            ("5min", 300.0),
            ("1h", 3_600.0),
            ("1h 30m", 5_400.0),
            ("1h30m", 5_400.0),
            ("1d", 86_400.0),
            ("1500ms", 1.5),
            ("1s", 1.0),
        ] {
            let span = read(text, DAY).map(|span| span.as_secs_f64());
            assert_eq!(span, Ok(seconds), "{text}");
        }
        for text in [
            "",
            "30",
            "0s",
            "0",
            "-5s",
            "999ms",
            "5x",
            "s",
            "25h",
            "1mo",
            "99999999999999999999h",
            "1e9s",
            "30s ago",
        ] {
            let error = read(text, DAY).expect_err(text);
            assert!(error.contains("30s, 5m, 1h") && error.contains("from 1s to 24h"), "{error}");
        }
        assert!(read("30d", YEAR).is_ok());
    }
}
