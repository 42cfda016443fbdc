//! Counts of events that have something in common.

use std::{collections::HashMap, fmt::Write as _};

use clap::ValueEnum as _;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};
use textwrap::core::display_width;

use crate::{
    cli::Group,
    record::{Line, harmless},
    sinks::Format,
};

/// Events of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    events: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Count {
    pub(super) fn add(&mut self, events: u64, time: Option<Timestamp>) {
        self.events += events;
        self.first = [self.first, time].into_iter().flatten().min();
        self.last = self.last.max(time);
    }
}

/// A line's value for a group; `-` if it has none.
pub(super) fn value(group: Group, line: &Line, zone: &TimeZone) -> String {
    let text = |text: &Option<String>| text.as_deref().map(harmless);
    let time = |format: &str| {
        line.time.map(|time| time.to_zoned(zone.clone()).strftime(format).to_string())
    };
    let value = match group {
        Group::Service => text(&line.service),
        Group::Cause => text(&line.cause),
        Group::Errno => text(&line.errno),
        Group::Severity => text(&line.severity),
        Group::Event => Some(harmless(&line.event)),
        Group::Unit => text(&line.unit),
        Group::Comm => text(&line.comm),
        Group::Exe => text(&line.exe),
        Group::Uid => line.uid.map(|uid| uid.to_string()),
        Group::Local => line.local.map(|address| address.to_string()),
        Group::Remote => line.remote.map(|address| address.to_string()),
        Group::Port => line.service_port.map(|port| port.to_string()),
        Group::Path => text(&line.path),
        Group::Protocol => text(&line.protocol),
        Group::Hour => time("%Y-%m-%dT%H:00"),
        Group::Day => time("%Y-%m-%d"),
    };
    value.unwrap_or_else(|| "-".to_owned())
}

/// Table of all groups, largest first.
pub(super) fn table(
    groups: &[Group],
    counts: &HashMap<Vec<String>, Count>,
    format: Format,
    zone: &TimeZone,
) -> Vec<u8> {
    let mut rows: Vec<_> = counts.iter().collect();
    rows.sort_by(|(key, count), (other_key, other)| {
        other.events.cmp(&count.events).then_with(|| key.cmp(other_key))
    });
    match format {
        Format::Human => for_people(groups, &rows, zone),
        Format::Json => in_json(groups, &rows),
    }
}

fn name(group: Group) -> String {
    group.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn for_people(groups: &[Group], rows: &[(&Vec<String>, &Count)], zone: &TimeZone) -> Vec<u8> {
    let time = |time: Option<Timestamp>| match time {
        Some(time) => time.to_zoned(zone.clone()).strftime("%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    };
    let titles = ["COUNT", "FIRST", "LAST"].map(str::to_owned).into_iter();
    let mut cells = vec![titles.chain(groups.iter().map(|it| name(*it).to_uppercase())).collect()];
    cells.extend(rows.iter().map(|(key, count)| {
        let numbers = [count.events.to_string(), time(count.first), time(count.last)];
        numbers.into_iter().chain(key.iter().cloned()).collect::<Vec<_>>()
    }));
    let widths: Vec<_> = (0..groups.len() + 3)
        .map(|column| cells.iter().map(|row| display_width(&row[column])).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &cells {
        let begin = text.len();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - display_width(cell));
            // Writing to a string cannot fail. Numbers are aligned to the right.
            let _ = match index {
                0 => write!(text, "{padding}{cell}"),
                _ => write!(text, "  {cell}{padding}"),
            };
        }
        text.truncate(begin + text[begin..].trim_end().len());
        text.push('\n');
    }
    text.into_bytes()
}

fn in_json(groups: &[Group], rows: &[(&Vec<String>, &Count)]) -> Vec<u8> {
    let mut out = Vec::new();
    let time = |time: Option<Timestamp>| time.map(|time| format!("{time:.9}"));
    for (key, count) in rows {
        let mut object = Map::new();
        object.insert("count".to_owned(), count.events.into());
        object.insert("first".to_owned(), time(count.first).into());
        object.insert("last".to_owned(), time(count.last).into());
        for (group, value) in groups.iter().zip(*key) {
            let value = if value == "-" { Value::Null } else { value.as_str().into() };
            object.insert(name(*group), value);
        }
        out.extend_from_slice(Value::from(object).to_string().as_bytes());
        out.push(b'\n');
    }
    out
}
