//! Formats records in batches of lines.

use std::{
    io::{self, IsTerminal as _},
    mem,
};

use anstream::{AutoStream, ColorChoice};
use jiff::tz::TimeZone;

use super::{Format, columns::Columns, flood, human, json};
use crate::record::{Flood, Record};

/// The largest buffer that is kept for the next batch.
const KEPT: usize = 256 << 10;

/// Collects lines.
pub(crate) struct Printer {
    format: Format,
    choice: ColorChoice,
    zone: TimeZone,
    columns: Columns,
    buffer: Vec<u8>,
    last_line: json::LastLine,
    formatted: u64,
    /// Of each flood in the buffer where its lines end, and how many events it stands for.
    floods: Vec<(usize, u64)>,
}

impl Printer {
    pub(crate) fn new(format: Format, color: ColorChoice) -> Self {
        let (zone, columns) = (TimeZone::system(), fitting());
        let (buffer, last_line) = (Vec::new(), json::LastLine::default());
        let choice = choice(color);
        let floods = Vec::new();
        Self { format, choice, zone, columns, buffer, last_line, formatted: 0, floods }
    }

    /// Adds the heading, where the format has one.
    pub(crate) fn heading(&mut self) {
        if self.format == Format::Human {
            self.append(|out, _, columns| human::heading(out, columns));
        }
    }

    /// Follows the terminal when it was made wider or narrower.
    fn fit(&mut self) {
        let before = mem::replace(&mut self.columns, fitting());
        if !before.show_same(&self.columns) {
            self.heading();
        }
    }

    /// Adds what is shown of one event.
    pub(crate) fn record(&mut self, record: &Record) {
        // Once a batch.
        if self.buffer.is_empty() {
            self.fit();
        }
        self.formatted += 1;
        match self.format {
            Format::Human => {
                self.append(|out, zone, columns| human::write(out, record, zone, columns));
            }
            Format::Json => {
                in_memory(json::write(&mut self.buffer, record, &mut self.last_line));
            }
        }
    }

    /// Adds what is shown of a flood.
    pub(crate) fn flood(&mut self, flood: &Flood) {
        if self.buffer.is_empty() {
            self.fit();
        }
        match self.format {
            Format::Human => {
                self.append(|out, zone, columns| flood::write_human(out, flood, zone, columns));
            }
            Format::Json => {
                in_memory(flood::write_json(&mut self.buffer, flood, &mut self.last_line));
            }
        }
        self.floods.push((self.buffer.len(), flood.count));
    }

    /// Adds a notice of lost events.
    pub(crate) fn lost(&mut self, count: u64) {
        match self.format {
            Format::Human => self.append(|out, _, _| human::lost(out, count)),
            Format::Json => in_memory(json::lost(&mut self.buffer, count)),
        }
    }

    /// Number of events added so far.
    pub(crate) fn formatted(&self) -> u64 {
        self.formatted
    }

    /// Goes on with a buffer that was taken out before, unless it is larger than most batches need.
    pub(crate) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.buffer.capacity() == 0 && buffer.capacity() <= KEPT {
            buffer.clear();
            self.buffer = buffer;
        }
    }

    /// Takes out what was added; `None` when that is nothing.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        (!self.buffer.is_empty()).then(|| mem::take(&mut self.buffer))
    }

    /// Takes out the floods among it: where their lines end, and how many events they stand for.
    pub(crate) fn take_floods(&mut self) -> Vec<(usize, u64)> {
        mem::take(&mut self.floods)
    }

    /// Bytes of what was added and not taken out.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Goes on with other options.
    pub(crate) fn change(&mut self, format: Format, color: ColorChoice) {
        let heading = format != self.format;
        self.choice = choice(color);
        self.format = format;
        if heading {
            self.heading();
        }
    }

    /// Adds lines for people.
    fn append(
        &mut self,
        write: impl FnOnce(&mut AutoStream<Vec<u8>>, &TimeZone, &Columns) -> io::Result<()>,
    ) {
        let buffer = mem::take(&mut self.buffer);
        let mut out = AutoStream::new(buffer, self.choice);
        in_memory(write(&mut out, &self.zone, &self.columns));
        self.buffer = out.into_inner();
    }
}

/// `auto` asks standard output, since lines go through memory.
fn choice(color: ColorChoice) -> ColorChoice {
    match color {
        ColorChoice::Auto => AutoStream::choice(&io::stdout()),
        choice => choice,
    }
}

/// Writing to memory cannot fail.
fn in_memory(result: io::Result<()>) {
    if let Err(error) = result {
        log::error!("a line could not be formatted: {error}");
    }
}

/// The columns that standard output has room for: all where it is no terminal.
fn fitting() -> Columns {
    if io::stdout().is_terminal() { Columns::within(textwrap::termwidth()) } else { Columns::all() }
}
