//! Formatting of records into batches of lines.

use std::{
    io::{self, Write},
    mem,
    net::SocketAddr,
};

use anstream::{ColorChoice, adapter::strip_bytes};
use jiff::{civil::Date, tz::TimeZone};

use super::{
    Clock, Format, Options, Target,
    columns::{Column, Columns},
    flood,
    human::{self, Layout},
    json, read_back,
};
use crate::record::{Flood, Line, Path, Record};

/// Maximum size of a buffer that is kept for the next batch.
const KEPT: usize = 256 << 10;

/// First byte of escape sequences.
const ESCAPE: u8 = 0x1b;

/// Collects lines.
pub(crate) struct Printer {
    options: Options,
    target: Target,
    choice: ColorChoice,
    zone: TimeZone,
    columns: Columns,
    /// Number of terminal lines until the heading scrolls out of sight; `None` without a terminal.
    until_heading: Option<usize>,
    /// Connection of the last line: network namespace and both ends.
    last_path: Option<(u32, SocketAddr, SocketAddr)>,
    /// Connection of the last line that was read back.
    last_read: Option<Path>,
    /// Day of the last line that was read back: lines show only the time of day.
    last_day: Option<Date>,
    buffer: Vec<u8>,
    last_line: json::LastLine,
    formatted: u64,
    /// For each flood in the buffer, where its lines end and how many events it stands for.
    floods: Vec<(usize, u64)>,
}

impl Printer {
    pub(crate) fn new(options: Options) -> Self {
        let target = Target::default();
        let mut printer = Self {
            choice: target.choice(options.color),
            target,
            zone: zone(options.clock),
            columns: Columns::all(),
            until_heading: None,
            last_path: None,
            last_read: None,
            last_day: None,
            options,
            buffer: Vec::new(),
            last_line: json::LastLine::default(),
            formatted: 0,
            floods: Vec::new(),
        };
        printer.columns = printer.fitting();
        printer
    }

    /// Formats lines for another target than standard output.
    pub(super) fn to(mut self, target: Target) -> Self {
        self.choice = target.choice(self.options.color);
        self.target = target;
        self.columns = self.fitting();
        self
    }

    /// Delays the heading until the first line.
    pub(super) fn delay_heading(&mut self) {
        self.until_heading = Some(0);
    }

    /// Adds the heading, if the format has one.
    pub(crate) fn heading(&mut self) {
        if self.options.format == Format::Human {
            (self.last_path, self.last_read) = (None, None);
            self.append(|out, layout| human::heading(out, layout.columns));
            // The heading takes one of the lines.
            self.until_heading =
                self.target.terminal().map(|(_, lines)| lines.saturating_sub(1).max(1));
        }
    }

    /// Adapts to the width of the terminal when it has changed.
    fn fit(&mut self) {
        let fitting = self.fitting();
        let before = mem::replace(&mut self.columns, fitting);
        if !before.show_same(&self.columns) {
            self.heading();
        }
    }

    /// Requested columns, or else those that fit the terminal; all of them without a terminal.
    fn fitting(&self) -> Columns {
        let width = self.target.terminal().map(|(width, _)| width);
        let columns = match (&self.options.columns, width) {
            (Some(list), width) => Columns::of(list, width),
            (None, Some(width)) => Columns::within(width),
            (None, None) => Columns::all(),
        };
        match self.options.clock {
            Clock::None => columns.without(Column::Time),
            Clock::Local | Clock::Utc => columns,
        }
    }

    /// Adds a record.
    pub(crate) fn record(&mut self, record: &Record) {
        // Once per batch.
        if self.buffer.is_empty() {
            self.fit();
        }
        self.formatted += 1;
        match self.options.format {
            Format::Human => {
                self.repeat_heading();
                let path = record.connection();
                // Only on a terminal. Elsewhere lines are read one by one.
                let continues = self.until_heading.is_some() && self.last_path == Some(path);
                self.append(|out, layout| {
                    human::write(out, record, Layout { continues, ..layout })
                });
                self.last_path = Some(path);
            }
            Format::Json => {
                in_memory(json::write(&mut self.buffer, record, &mut self.last_line));
            }
        }
    }

    /// Adds a flood.
    pub(crate) fn flood(&mut self, flood: &Flood) {
        if self.buffer.is_empty() {
            self.fit();
        }
        match self.options.format {
            Format::Human => {
                self.repeat_heading();
                self.append(|out, layout| flood::write_human(out, flood, layout));
                self.last_path = None;
            }
            Format::Json => {
                in_memory(flood::write_json(&mut self.buffer, flood, &mut self.last_line));
            }
        }
        self.floods.push((self.buffer.len(), flood.count));
    }

    /// Adds a line that was read back; `text` adds it as JSON.
    pub(crate) fn read_back(&mut self, line: &Line, text: impl FnOnce(&mut Vec<u8>)) {
        if self.buffer.is_empty() {
            self.fit();
        }
        match self.options.format {
            Format::Human => {
                self.repeat_heading();
                self.begin_day(line);
                let path = Some(line.connection()).filter(|_| !line.is_flood());
                let is_same = path.is_some() && self.last_read == path;
                let continues = self.until_heading.is_some() && is_same;
                self.append(|out, layout| {
                    read_back::write_human(out, line, Layout { continues, ..layout })
                });
                self.last_read = path;
            }
            // Unchanged, since later versions have more fields.
            Format::Json => {
                text(&mut self.buffer);
                self.buffer.push(b'\n');
            }
        }
    }

    /// Shows the day before its first line.
    fn begin_day(&mut self, line: &Line) {
        let day = line.time.map(|time| self.zone.to_datetime(time).date());
        if day.is_none() || day == self.last_day || self.options.clock == Clock::None {
            return;
        }
        self.last_day = day;
        self.last_read = None;
        if let Some(day) = day {
            self.append(|out, _| human::day(out, day));
        }
    }

    /// Repeats the heading before it scrolls out of sight.
    fn repeat_heading(&mut self) {
        if self.until_heading == Some(0) {
            self.heading();
        }
    }

    /// Adds a notice of lost events.
    pub(crate) fn lost(&mut self, count: u64) {
        match self.options.format {
            Format::Human => {
                self.last_path = None;
                self.append(|out, _| human::lost(out, count));
            }
            Format::Json => in_memory(json::lost(&mut self.buffer, count)),
        }
    }

    /// Number of events added.
    pub(crate) fn formatted(&self) -> u64 {
        self.formatted
    }

    /// Reuses a buffer that was taken out before, unless it is larger than most batches need.
    pub(crate) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.buffer.capacity() == 0 && buffer.capacity() <= KEPT {
            buffer.clear();
            self.buffer = buffer;
        }
    }

    /// Takes out what was added; `None` if there is nothing.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        (!self.buffer.is_empty()).then(|| mem::take(&mut self.buffer))
    }

    /// Takes out the floods in the batch: where their lines end, and how many events they stand
    /// for.
    pub(crate) fn take_floods(&mut self) -> Vec<(usize, u64)> {
        mem::take(&mut self.floods)
    }

    /// Number of bytes added and not taken out.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Switches to other options.
    pub(crate) fn change(&mut self, options: Options) {
        let heading = options.format != self.options.format;
        self.choice = self.target.choice(options.color);
        self.zone = zone(options.clock);
        self.options = options;
        if heading {
            self.heading();
        }
    }

    /// Adds lines for people.
    fn append(&mut self, write: impl FnOnce(&mut Lines, Layout<'_>) -> io::Result<()>) {
        let text = mem::take(&mut self.buffer);
        let before = text.len();
        let mut out = Lines { text, is_plain: self.choice == ColorChoice::Never };
        let layout = Layout { zone: &self.zone, columns: &self.columns, continues: false };
        in_memory(write(&mut out, layout));
        self.buffer = out.text;
        if let Some(left) = &mut self.until_heading {
            // Each line ends with a newline, so splitting yields one extra piece.
            let lines = self.buffer[before..].split(|byte| *byte == b'\n').count() - 1;
            *left = left.saturating_sub(lines);
        }
    }
}

/// Lines for people, in memory.
struct Lines {
    text: Vec<u8>,
    /// Whether styles are removed.
    is_plain: bool,
}

impl Write for Lines {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        // Each style is written separately, and texts contain no escape sequences.
        if self.is_plain && piece.contains(&ESCAPE) {
            strip_bytes(piece).for_each(|part| self.text.extend_from_slice(part));
        } else {
            self.text.extend_from_slice(piece);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time zone of a clock.
pub(super) fn zone(clock: Clock) -> TimeZone {
    match clock {
        Clock::Utc => TimeZone::UTC,
        Clock::Local | Clock::None => TimeZone::system(),
    }
}

/// Writing to memory cannot fail.
fn in_memory(result: io::Result<()>) {
    if let Err(error) = result {
        log::error!("a line could not be formatted: {error}");
    }
}
