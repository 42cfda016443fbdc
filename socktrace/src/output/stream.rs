//! The stream: formats events in batches of lines.

use std::{
    io::{self, IsTerminal as _},
    mem,
};

use anstream::{AutoStream, ColorChoice};
use jiff::tz::TimeZone;
use socktrace_ebpf::Event;

use super::{Decoder, columns::Columns, human, json};
use crate::{
    cli::{Color, Output},
    diagnosis::{Finding, Severity, diagnose},
};

/// Collects lines.
pub(crate) struct Printer {
    output: Output,
    choice: ColorChoice,
    /// Whether what is expected in ordinary operation is shown.
    all: bool,
    decoder: Decoder,
    zone: TimeZone,
    columns: Columns,
    buffer: Vec<u8>,
    shown: u64,
}

impl Printer {
    pub(crate) fn new(output: Output, color: Color, all: bool, decoder: Decoder) -> Self {
        let (zone, columns) = (TimeZone::system(), fitting());
        let choice = choice(color);
        Self { output, choice, all, decoder, zone, columns, buffer: Vec::new(), shown: 0 }
    }

    /// Adds the heading, where the format has one.
    pub(crate) fn heading(&mut self) {
        if self.output == Output::Human {
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

    /// Adds one event, unless it is one that is only counted.
    pub(crate) fn event(&mut self, event: Event) {
        if let Finding::Failure(found) = diagnose(event.signature)
            && found.severity == Severity::Expected
            && !self.all
        {
            return;
        }
        // Once a batch.
        if self.buffer.is_empty() {
            self.fit();
        }
        let record = self.decoder.decode(event);
        self.shown += 1;
        match self.output {
            Output::Human => {
                self.append(|out, zone, columns| human::write(out, &record, zone, columns));
            }
            Output::Json => self.json(|out| json::write(out, &record)),
        }
    }

    /// From now on there has been no room for the owners of some sockets.
    pub(crate) fn owners_are_full(&mut self) {
        self.decoder.owners_are_full();
    }

    /// Adds a notice of lost events.
    pub(crate) fn lost(&mut self, count: u64) {
        match self.output {
            Output::Human => self.append(|out, _, _| human::lost(out, count)),
            Output::Json => self.json(|out| json::lost(out, count)),
        }
    }

    /// Number of events added so far.
    pub(crate) fn shown(&self) -> u64 {
        self.shown
    }

    /// Takes out what was added; `None` when that is nothing.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        (!self.buffer.is_empty()).then(|| mem::take(&mut self.buffer))
    }

    /// Bytes of what was added and not taken out.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Goes on with other options.
    pub(crate) fn change(&mut self, output: Output, color: Color, all: bool) {
        let heading = output != self.output;
        self.choice = choice(color);
        self.output = output;
        self.all = all;
        if heading {
            self.heading();
        }
    }

    /// Adds JSON, which has no colors that would have to be taken out.
    fn json(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        told(write(&mut self.buffer));
    }

    /// Adds lines for people.
    fn append(
        &mut self,
        write: impl FnOnce(&mut AutoStream<Vec<u8>>, &TimeZone, &Columns) -> io::Result<()>,
    ) {
        let buffer = mem::take(&mut self.buffer);
        let mut out = AutoStream::new(buffer, self.choice);
        told(write(&mut out, &self.zone, &self.columns));
        self.buffer = out.into_inner();
    }
}

/// `auto` asks standard output, since lines go through memory.
fn choice(color: Color) -> ColorChoice {
    match ColorChoice::from(color) {
        ColorChoice::Auto => AutoStream::choice(&io::stdout()),
        choice => choice,
    }
}

/// Writing to memory cannot fail.
fn told(result: io::Result<()>) {
    if let Err(error) = result {
        log::error!("a line could not be formatted: {error}");
    }
}

/// The columns that standard output has room for: all where it is no terminal.
fn fitting() -> Columns {
    if io::stdout().is_terminal() { Columns::within(textwrap::termwidth()) } else { Columns::all() }
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Flags, TcpState};

    use super::*;
    use crate::{kernel::clock::Clock, output::record::tests::reset_event, owner::Owners};

    fn shown(all: bool, event: Event) -> String {
        let clock = Clock::new().expect("a clock");
        let decoder = Decoder::new(clock, Vec::new(), Owners::nowhere());
        let mut printer = Printer::new(Output::Json, Color::Never, all, decoder);
        printer.event(event);
        assert_eq!(printer.shown() == 1, !printer.buffer.is_empty());
        String::from_utf8(printer.buffer).expect("text")
    }

    #[test]
    fn what_is_expected_is_shown_on_request_only() {
        let mut orphan = reset_event();
        orphan.signature.state = TcpState::FinWait1 as u8;
        orphan.signature.flags = Flags::ORPHAN.0;
        assert_eq!(shown(false, orphan), "");
        assert!(shown(true, orphan).contains("\"severity\":\"expected\""));
        assert!(shown(false, reset_event()).contains("\"severity\":\"failure\""));
    }
}
