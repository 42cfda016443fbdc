//! Options of the history: what to keep, and what to show.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use jiff::{
    Span, Timestamp, Unit, Zoned,
    civil::{DateTime, Time as TimeOfDay},
};

use super::{Color, Filters, Output, Time, number};
use crate::sinks::ColumnList;

/// Default file of the history.
pub(crate) const HISTORY_FILE: &str = "/var/lib/socktrace/history.db";

/// Heading of these options in the help.
const HEADING: &str = "History";

/// Smaller than this, the history would hold little more than SQLite's write-ahead log.
const LEAST_SIZE: u32 = 16;

/// Options of the history that is kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub(crate) struct History {
    /// Keep events that pass the filters in a file, which `socktrace history` reads; also with --no-stream. On
    /// by default where systemd provides /var/lib/socktrace, as for the packaged service
    #[arg(id = "history", long = "history")]
    pub(crate) is_on: bool,

    /// File of the history. A missing directory is created, for root and group socktrace
    #[arg(long = "history-file", value_name = "FILE", default_value = HISTORY_FILE)]
    pub(crate) file: PathBuf,

    /// Maximum size of the file, at some 300 bytes a line; beyond it the oldest lines are deleted
    #[arg(long = "history-size", value_name = "MIB", default_value_t = 256, value_parser = |text: &str| number(text, LEAST_SIZE..=1 << 20))]
    size: u32,

    /// Maximum age of a line; older ones are deleted
    #[arg(long = "history-age", value_name = "DAYS", default_value_t = 14, value_parser = |text: &str| number(text, 1..=3_650))]
    age: u32,
}

impl History {
    /// Maximum size of the file, in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        (self.size as u64) << 20
    }

    /// Maximum age of a line.
    pub(crate) const fn age(&self) -> Duration {
        Duration::from_secs(self.age as u64 * 86_400)
    }
}

/// Options for showing kept lines.
#[derive(Args, Debug)]
pub(crate) struct Shown {
    /// Format of the lines
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,

    /// Color the lines; `auto` does on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// Columns of lines for people, separated by commas: time, errno, cause, process, service, role,
    /// local, remote, flow, reason [default: on a terminal those that fit, else all but flow]
    #[arg(long, value_name = "NAMES")]
    pub(crate) columns: Option<ColumnList>,

    /// Time zone of timestamps in lines for people; JSON is always in UTC
    #[arg(long, value_enum, default_value_t, value_name = "CLOCK")]
    pub(crate) time: Time,

    /// Show counts instead of lines: how many events share the same values of these fields
    #[arg(
        long,
        value_enum,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "columns"
    )]
    pub(crate) group_by: Vec<Group>,

    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// Options of `socktrace history`.
#[derive(Args, Debug)]
pub(crate) struct ReadHistory {
    /// Start of the range: 90min or 2d ago, today, yesterday, 03:00, 2026-11-28, 2026-11-28T03:00 in local
    /// time, 2026-11-28T03:00Z or +01:00 [default: the oldest line]
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,

    /// End of the range, in the same forms [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,

    /// Delete all lines, or those between --since and --until, instead of showing them
    #[arg(long, conflicts_with_all = ["Filters", "group_by", "columns", "output"])]
    pub(crate) purge: bool,

    /// File of the history [default: the daemon's, as set by --history-file, SOCKTRACE_HISTORY_FILE or the
    /// configuration file, else /var/lib/socktrace/history.db]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// Options of `socktrace replay`.
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// File with lines in JSON; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// Fields to group events by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Service,
    Cause,
    Errno,
    Severity,
    Event,
    Unit,
    Comm,
    Exe,
    Uid,
    Local,
    Remote,
    /// Port of the listening end
    Port,
    Path,
    Protocol,
    /// In the time zone of --time
    Hour,
    Day,
}

/// A point in time given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        moment(text, &Zoned::now()).map(Self)
    }
}

fn moment(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let local = |time: DateTime| time.to_zoned(now.time_zone().clone()).ok();
    let midnight = now.start_of_day().ok();
    let found = match text {
        "now" => Some(now.clone()),
        "today" => midnight,
        "yesterday" => now.yesterday().and_then(|day| day.start_of_day()).ok(),
        _ => None,
    };
    let zone = now.time_zone();
    let found = found
        .or_else(|| Some(text.parse::<Timestamp>().ok()?.to_zoned(zone.clone())))
        .or_else(|| local(text.parse().ok()?))
        .or_else(|| local(now.date().to_datetime(text.parse::<TimeOfDay>().ok()?)))
        .or_else(|| {
            let span: Span = text.trim_end_matches(" ago").parse().ok()?;
            // Times in the future make no sense for a history.
            let is_back = !span.is_negative() && span.total((Unit::Second, now)).is_ok();
            is_back.then(|| now.checked_sub(span).ok())?
        });
    found.map(|found| found.timestamp()).ok_or_else(|| {
        "expected a span such as 90min, 1h or 2d, which ends now, or a time: now, today, yesterday, 03:00, \
         2026-11-28, 2026-11-28T03:00, or with an offset 2026-11-28T03:00Z or 2026-11-28T03:00+01:00"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time zone two hours ahead of UTC in summer, and one hour in winter.
    fn now() -> Zoned {
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        "2026-11-30T15:04:05Z".parse::<Timestamp>().expect("a time").to_zoned(zone)
    }

    #[test]
    fn times_are_local_unless_they_say_otherwise() {
        for (text, expected) in [
            ("now", "2026-11-30T15:04:05Z"),
            ("today", "2026-11-29T23:00:00Z"),
            ("yesterday", "2026-11-28T23:00:00Z"),
            ("1h", "2026-11-30T14:04:05Z"),
            ("90min", "2026-11-30T13:34:05Z"),
            ("90m", "2026-11-30T13:34:05Z"),
            ("2d", "2026-11-28T15:04:05Z"),
            ("1h 30min ago", "2026-11-30T13:34:05Z"),
            ("03:00", "2026-11-30T02:00:00Z"),
            ("2026-11-28", "2026-11-27T23:00:00Z"),
            ("2026-11-28T03:00", "2026-11-28T02:00:00Z"),
            ("2026-11-28 03:00:30", "2026-11-28T02:00:30Z"),
            ("2026-07-01T03:00", "2026-07-01T01:00:00Z"),
            ("2026-11-28T03:00Z", "2026-11-28T03:00:00Z"),
            ("2026-11-28T03:00-05:00", "2026-11-28T08:00:00Z"),
            ("2026-03-01T08:05:09.123000000Z", "2026-03-01T08:05:09.123Z"),
        ] {
            assert_eq!(
                moment(text, &now()).map(|time| time.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn other_times_name_the_forms() {
        for text in ["", "noon", "-1h", "25:00", "2026-13-01", "1", "1 fortnight", "tomorrow"] {
            let error = moment(text, &now()).expect_err(text);
            assert!(error.contains("yesterday") && error.contains("90min"), "{error}");
        }
    }
}
