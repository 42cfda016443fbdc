//! Shows lines that were read back, one by one or as counts by group, followed by a summary on
//! stderr.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write as _},
    ops::ControlFlow,
};

use anstream::ColorChoice;
use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};

use super::{
    groups::{self, Count},
    say, totals,
};
use crate::{
    cli::{Group, Shown},
    filter::Filter,
    record::{Line, harmless},
    sinks::{Clock, Format, Options, Printer},
};

/// Size of one write.
const BATCH: usize = 64 << 10;

/// Maximum number of groups; the others count as one.
const MOST_GROUPS: usize = 100_000;

/// Shows lines, as they come.
pub(super) struct LineView<'a> {
    filter: Filter,
    groups: &'a [Group],
    format: Format,
    zone: TimeZone,
    printer: Printer,
    counts: HashMap<Vec<String>, Count>,
    failures: BTreeMap<String, u64>,
    events: u64,
    lost: u64,
    /// Lines left out because --summary wrote them.
    summaries: u64,
    span: Option<(Timestamp, Timestamp)>,
    /// The error that ended it, unless the reader has seen enough.
    failed: Option<io::Error>,
}

impl<'a> LineView<'a> {
    pub(super) fn new(shown: &'a Shown) -> Self {
        let options = options(shown);
        let format = options.format;
        let zone = match options.clock {
            Clock::Utc => TimeZone::UTC,
            Clock::Local | Clock::None => TimeZone::system(),
        };
        let mut printer = Printer::new(options);
        if shown.group_by.is_empty() {
            printer.heading();
        }
        Self {
            filter: Filter::from(&shown.filters),
            groups: &shown.group_by,
            format,
            zone,
            printer,
            counts: HashMap::new(),
            failures: BTreeMap::new(),
            events: 0,
            lost: 0,
            summaries: 0,
            span: None,
            failed: None,
        }
    }

    /// Takes a line, which `text` adds to a buffer as JSON; breaks when the reader has gone.
    pub(super) fn take(&mut self, line: &Line, text: impl FnOnce(&mut Vec<u8>)) -> ControlFlow<()> {
        if let Some(count) = line.lost() {
            self.lost += count;
        } else if line.is_summary() {
            // Nothing more is known of these events, and other lines may show them.
            self.summaries += 1;
            return ControlFlow::Continue(());
        } else {
            if !self.filter.admits_line(line) {
                return ControlFlow::Continue(());
            }
            self.count(line);
        }
        if self.groups.is_empty() {
            self.printer.read_back(line, text);
            if self.printer.pending() >= BATCH {
                return self.write();
            }
        }
        ControlFlow::Continue(())
    }

    fn count(&mut self, line: &Line) {
        let events = line.events();
        self.events += events;
        if line.event == "failure"
            && let Some(cause) = &line.cause
        {
            match self.failures.get_mut(cause) {
                Some(count) => *count += events,
                None => drop(self.failures.insert(cause.clone(), events)),
            }
        }
        if let Some(time) = line.time {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
        }
        if self.groups.is_empty() {
            return;
        }
        let of = |group: &Group| groups::value(*group, line, &self.zone);
        let mut key: Vec<_> = self.groups.iter().map(of).collect();
        if self.counts.len() >= MOST_GROUPS && !self.counts.contains_key(&key) {
            key = vec!["others".to_owned(); self.groups.len()];
        }
        self.counts.entry(key).or_default().add(events, line.time);
    }

    /// Writes what was added.
    fn write(&mut self) -> ControlFlow<()> {
        let Some(batch) = self.printer.take() else { return ControlFlow::Continue(()) };
        let written = write(&batch);
        self.printer.reuse(batch);
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Writes the rest, and the summary.
    ///
    /// # Errors
    /// When stdout cannot be written, unless its reader has seen enough.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if self.failed.is_none() {
            if self.groups.is_empty() {
                let _ = self.write();
            } else {
                let titles = self.groups;
                let table = groups::table(titles, &self.counts, self.format, &self.zone);
                self.failed = write(&table).err();
            }
        }
        match self.failed {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Some(error) => return Err(error).context("cannot write to stdout"),
            None => {}
        }
        say(&self.summary());
        Ok(())
    }

    fn summary(&self) -> String {
        let mut causes: Vec<_> = self.failures.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let causes = causes.into_iter().map(|(cause, count)| (harmless(cause), *count));
        let failures = totals::failures(causes);
        let time = |time: Timestamp| {
            time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let span = self
            .span
            .map(|(first, last)| format!(" from {} to {}", time(first), time(last)))
            .unwrap_or_default();
        let lost = if self.lost > 0 { format!(", {} lost", self.lost) } else { String::new() };
        let events = match self.events {
            1 => "1 event".to_owned(),
            count => format!("{count} events"),
        };
        let left_out = match self.summaries {
            0 => String::new(),
            count => format!("; {count} lines of --summary skipped"),
        };
        format!("{failures}; {events}{span}{lost}{left_out}")
    }
}

fn options(shown: &Shown) -> Options {
    Options {
        format: shown.output.into(),
        color: ColorChoice::from(shown.color),
        clock: shown.time.into(),
        columns: shown.columns.clone(),
        drops: false,
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}
