//! Counts of events in a time span, by cause and service.

use std::{
    cmp::Reverse,
    collections::HashMap,
    io::{self, Write},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use socktrace_diagnosis::{Errno, Finding};

use super::{Format, human};

/// Maximum number of kinds in a time span; the others are counted together.
const MOST_KINDS: usize = 4_096;

/// Maximum number of rows in a block, the most frequent ones; the others share one.
const MOST_ROWS: usize = 40;

/// Common properties of the events in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
struct Kind {
    /// As in lines about single events.
    event: &'static str,
    #[serde(serialize_with = "errno_name")]
    errno: Option<Errno>,
    errno_number: Option<u16>,
    cause: Option<&'static str>,
    severity: Option<&'static str>,
    service: Option<String>,
}

/// Counted events.
#[derive(Debug, Default)]
pub(super) struct Summary {
    counts: HashMap<Kind, u64>,
    /// Events of kinds for which there was no room.
    beyond: u64,
    /// Events that the stream got one by one, and events that floods stand for.
    pub(super) shown: u64,
    pub(super) repeated: u64,
    /// Events that never arrived here.
    pub(super) lost: u64,
}

/// When and how a block is written.
pub(super) struct Moment<'a> {
    pub(super) time: Timestamp,
    /// Time span that its events are from.
    pub(super) span: Duration,
    /// `None` if lines have no timestamps.
    pub(super) zone: Option<&'a TimeZone>,
}

#[derive(Serialize)]
struct Row<'a> {
    count: u64,
    #[serde(flatten)]
    kind: &'a Kind,
}

/// Rows without a place of their own.
#[derive(Default, Serialize)]
struct Others {
    /// Number of their kinds; null if there were too many to distinguish.
    kinds: Option<usize>,
    count: u64,
}

/// A block in JSON.
#[derive(Serialize)]
struct Object<'a> {
    time: String,
    event: &'static str,
    interval_ms: u64,
    events: u64,
    failures: u64,
    lost: u64,
    rows: Vec<Row<'a>>,
    others: Others,
}

impl Summary {
    /// Counts events of a kind.
    pub(super) fn add(
        &mut self,
        event: &'static str,
        finding: Finding,
        service: Option<&str>,
        count: u64,
    ) {
        let found = finding.diagnosis();
        let kind = Kind {
            event,
            errno: found.map(|found| found.errno),
            errno_number: found.map(|found| found.errno.number()),
            cause: found.map(|found| found.cause.id()),
            severity: found.map(|found| found.severity.id()),
            service: service.map(str::to_owned),
        };
        let is_full = self.counts.len() >= MOST_KINDS;
        match self.counts.get_mut(&kind) {
            Some(counted) => *counted += count,
            None if is_full => self.beyond += count,
            None => drop(self.counts.insert(kind, count)),
        }
    }

    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.shown + self.repeated + self.lost == 0
    }

    /// Writes a block, the most frequent rows first.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        format: Format,
        moment: &Moment<'_>,
    ) -> io::Result<()> {
        let mut rows: Vec<_> =
            self.counts.iter().map(|(kind, count)| Row { count: *count, kind }).collect();
        rows.sort_by(|a, b| {
            let key = |row: &Row<'_>| (row.kind.cause, row.kind.event, row.kind.errno_number);
            Reverse(a.count)
                .cmp(&Reverse(b.count))
                .then_with(|| key(a).cmp(&key(b)))
                .then_with(|| a.kind.service.cmp(&b.kind.service))
        });
        let rest = rows.split_off(rows.len().min(MOST_ROWS));
        let others = Others {
            kinds: (self.beyond == 0).then_some(rest.len()),
            count: rest.iter().map(|row| row.count).sum::<u64>() + self.beyond,
        };
        match format {
            Format::Human => self.write_human(out, &rows, &others, moment),
            Format::Json => self.write_json(out, rows, others, moment),
        }
    }

    fn failures(&self) -> u64 {
        let counts = self.counts.iter().filter(|(kind, _)| kind.event == "failure");
        counts.map(|(_, count)| count).sum()
    }

    fn write_human(
        &self,
        out: &mut impl Write,
        rows: &[Row<'_>],
        others: &Others,
        moment: &Moment<'_>,
    ) -> io::Result<()> {
        if let Some(zone) = moment.zone {
            write!(out, "{}  ", human::time(moment.time, zone))?;
        }
        let seconds = moment.span.as_secs_f64();
        write!(out, "{} events in {seconds:.1} s", self.shown + self.repeated)?;
        match self.lost {
            0 => writeln!(out)?,
            lost => writeln!(out, ", {lost} lost")?,
        }
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "{:>10}  {:<12} {:<28} SERVICE", "COUNT", "ERRNO", "CAUSE")?;
        for Row { count, kind } in rows {
            let errno = kind.errno.map_or_else(|| "-".into(), Errno::text);
            let cause = match (kind.cause, kind.event) {
                (Some(cause), "failure") => cause.to_owned(),
                (Some(cause), event) => format!("{cause} ({event})"),
                (None, event) => event.to_owned(),
            };
            let service = kind.service.as_deref().unwrap_or("-");
            writeln!(out, "{count:>10}  {errno:<12} {cause:<28} {service}")?;
        }
        match others {
            Others { count: 0, .. } => Ok(()),
            Others { kinds: Some(kinds), count } => writeln!(out, "{count:>10}  {kinds} others"),
            Others { kinds: None, count } => writeln!(out, "{count:>10}  others"),
        }
    }

    fn write_json(
        &self,
        out: &mut impl Write,
        rows: Vec<Row<'_>>,
        others: Others,
        moment: &Moment<'_>,
    ) -> io::Result<()> {
        let object = Object {
            time: format!("{:.9}", moment.time),
            event: "summary",
            interval_ms: u64::try_from(moment.span.as_millis()).unwrap_or(u64::MAX),
            events: self.shown + self.repeated,
            failures: self.failures(),
            lost: self.lost,
            rows,
            others,
        };
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn errno_name<S: serde::Serializer>(errno: &Option<Errno>, to: S) -> Result<S::Ok, S::Error> {
    match errno {
        Some(errno) => to.serialize_str(&errno.text()),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::record::tests::{record, reset_event};

    fn written(summary: &Summary, format: Format) -> String {
        let moment = Moment {
            time: "2026-11-30T15:04:05Z".parse().expect("a time"),
            span: Duration::from_secs(10),
            zone: Some(&TimeZone::UTC),
        };
        let mut out = Vec::new();
        summary.write(&mut out, format, &moment).expect("memory");
        String::from_utf8(out).expect("text")
    }

    fn resets(services: usize) -> Summary {
        let finding = record(reset_event()).finding;
        let mut summary = Summary::default();
        for number in 0..services {
            let service = format!("s{number:04}.service");
            summary.add("failure", finding, Some(&service), 1);
        }
        summary.add("failure", finding, Some("s0001.service"), 4);
        summary.add("delivered", finding, None, 2);
        (summary.shown, summary.repeated) = (services as u64 + 2, 4);
        summary
    }

    #[test]
    fn the_most_frequent_come_first() {
        let summary = Summary { lost: 3, ..resets(2) };
        assert_eq!(
            written(&summary, Format::Human),
            "15:04:05.000  8 events in 10.0 s, 3 lost\n     \
             COUNT  ERRNO        CAUSE                        SERVICE\n         \
             5  ECONNRESET   reset_by_peer                s0001.service\n         \
             2  ECONNRESET   reset_by_peer (delivered)    -\n         \
             1  ECONNRESET   reset_by_peer                s0000.service\n"
        );
        let object: Value = serde_json::from_str(&written(&summary, Format::Json)).expect("JSON");
        assert_eq!(
            object["rows"][1],
            json!({"count": 2, "event": "delivered", "errno": "ECONNRESET", "errno_number": 104,
                   "cause": "reset_by_peer", "severity": "failure", "service": null})
        );
        assert_eq!(
            [&object["event"], &object["events"], &object["failures"], &object["lost"]],
            [&json!("summary"), &json!(8), &json!(6), &json!(3)]
        );
        assert_eq!(object["others"], json!({"kinds": 0, "count": 0}));
        assert_eq!(object["interval_ms"], 10_000);
    }

    #[test]
    fn rows_and_kinds_are_bounded_and_nothing_is_left_out() {
        for services in [MOST_ROWS - 1, MOST_ROWS + 7, MOST_KINDS + 100] {
            let summary = resets(services);
            assert!(summary.counts.len() <= MOST_KINDS);
            let object: Value =
                serde_json::from_str(&written(&summary, Format::Json)).expect("JSON");
            let rows = object["rows"].as_array().expect("rows");
            assert!(rows.len() <= MOST_ROWS);
            let counted: u64 = rows.iter().filter_map(|row| row["count"].as_u64()).sum();
            let others = object["others"]["count"].as_u64().expect("a count");
            assert_eq!(counted + others, services as u64 + 6);
            assert_eq!(object["events"], services + 6);
            assert!(written(&summary, Format::Human).lines().count() <= MOST_ROWS + 3);
        }
    }

    #[test]
    fn where_nothing_has_happened_a_line_says_so() {
        let summary = Summary::default();
        assert!(summary.is_empty());
        assert_eq!(written(&summary, Format::Human), "15:04:05.000  0 events in 10.0 s\n");
    }
}
