//! Expected values of single fields of a line.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// Expected value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claim {
    /// Exactly this value.
    Is(Value),
    /// Any of these values, depending on timing.
    OneOf(Vec<Value>),
    /// An integer in this closed range.
    Within(u64, u64),
    /// Non-empty text that contains `with`, and does not contain `without`.
    Text { with: String, without: Option<&'static str> },
    /// A connection ID: sixteen hexadecimal digits.
    Flow,
    /// A time in UTC, RFC 3339, in this closed range.
    Between(SystemTime, SystemTime),
}

impl Claim {
    /// Any non-empty text.
    pub(super) const TEXT: Self = Self::Text { with: String::new(), without: None };

    pub(super) fn is(value: impl Into<Value>) -> Self {
        Self::Is(value.into())
    }

    /// Whether the value meets the claim.
    pub(super) fn admits(&self, value: &Value) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::OneOf(wanted) => wanted.contains(value),
            Self::Within(low, high) => {
                value.as_u64().is_some_and(|number| (*low..=*high).contains(&number))
            }
            Self::Text { with, without } => value.as_str().is_some_and(|text| {
                !text.is_empty()
                    && text.contains(with.as_str())
                    && without.is_none_or(|without| !text.contains(without))
            }),
            Self::Flow => value.as_str().is_some_and(|text| {
                text.len() == 16
                    && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }),
            Self::Between(first, last) => {
                value.as_str().and_then(time).is_some_and(|time| (*first..=*last).contains(&time))
            }
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => write!(f, "{value}"),
            Self::OneOf(values) => {
                f.write_str("one of")?;
                values.iter().try_for_each(|value| write!(f, " {value}"))
            }
            Self::Within(low, high) => write!(f, "{low} to {high}"),
            Self::Text { with, without } => {
                write!(f, "text with {with:?}")?;
                without.map_or(Ok(()), |without| write!(f, " and not {without:?}"))
            }
            Self::Flow => f.write_str("16 hexadecimal digits"),
            Self::Between(first, last) => {
                let since = |time: &SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
                write!(f, "{:?} to {:?} after 1970 began", since(first), since(last))
            }
        }
    }
}

/// Parses a time such as `2026-11-29T02:10:00.5Z`.
fn time(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let numbers = |text: &str, separator| -> Option<[u64; 3]> {
        let numbers: Vec<_> =
            text.split(separator).map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = (days(year, month, day)? * 24 + hour) * 3_600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

/// Days from 1 January 1970 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that begin in March end with the leap day, and their months come to 153 days in every five.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_years = 365 * year + year / 4 - year / 100 + year / 400;
    (of_years + (153 * month + 2) / 5 + day).checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read() {
        let at = |text| time(text).map(|time| time.duration_since(UNIX_EPOCH).expect("later"));
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(at("2000-02-29T12:00:00.25Z"), Some(Duration::from_millis(951_825_600_250)));
        assert_eq!(at("2026-03-01T00:00:01Z"), Some(Duration::from_secs(1_772_323_201)));
        assert_eq!(at("2026-03-01"), None);
    }

    #[test]
    fn bounds_belong_to_the_range() {
        let claim = Claim::Within(3, 5);
        for (number, holds) in [(2, false), (3, true), (5, true), (6, false)] {
            assert_eq!(claim.admits(&json!(number)), holds, "{number}");
        }
        assert!(!claim.admits(&Value::Null));
        assert!(!claim.admits(&json!("4")));
    }

    #[test]
    fn times_have_bounds() {
        let second = |second| UNIX_EPOCH + Duration::from_secs(second);
        let claim = Claim::Between(second(1), second(2));
        assert!(claim.admits(&json!("1970-01-01T00:00:01.5Z")));
        assert!(!claim.admits(&json!("1970-01-01T00:00:02.5Z")));
        assert!(!claim.admits(&json!("soon")));
    }

    #[test]
    fn text_is_searched() {
        let claim = Claim::Text { with: "sent by ss[7]".to_owned(), without: Some("SIGPIPE") };
        assert!(claim.admits(&json!("reset; sent by ss[7]")));
        assert!(!claim.admits(&json!("reset; sent by ss[8]")));
        assert!(!claim.admits(&json!("reset; sent by ss[7]; SIGPIPE is ignored")));
        assert!(!Claim::TEXT.admits(&json!("")));
    }
}
