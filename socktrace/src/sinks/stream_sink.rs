//! The stream: lines on standard output, or elsewhere.

use std::{
    io, mem,
    task::{Context, Poll, ready},
};

use super::{
    Ending, Options, Sink, Target,
    printer::Printer,
    writer::{Writer, Written},
};
use crate::{
    counts::StreamProgress,
    record::{Flood, Record},
};

/// Maximum number of bytes kept for a slow reader if records are dropped.
const KEPT_FOR_READER: usize = 1 << 20;

/// Writes lines.
pub(crate) struct StreamSink {
    printer: Printer,
    writer: Writer,
    drops: bool,
    /// Events lost in the kernel.
    lost_in_kernel: u64,
    /// Lost events that the stream has reported.
    reported: u64,
    /// Events received but not shown.
    dropped: u64,
    /// Dropped events that the stream has not reported yet.
    unreported: u64,
    /// Events that the printer has formatted: those written, those that never will be, and all that
    /// were handed to the writer.
    written: u64,
    unwritten: u64,
    begun: u64,
    /// For each flood handed to the writer, where its lines end and how many events it stands for.
    begun_floods: Vec<(usize, u64)>,
    /// Events that the written floods stand for.
    repeated: u64,
    /// Whether nothing is written any more.
    given_up: bool,
    /// Number of lines still to be written; `None` for no limit.
    remaining: Option<u32>,
    /// Whether the heading comes with the first line.
    has_late_heading: bool,
}

impl StreamSink {
    /// Creates a sink that writes this many lines, or any number.
    pub(crate) fn new(options: Options, lines: Option<u32>) -> Self {
        Self {
            drops: options.drops,
            printer: Printer::new(options),
            writer: Writer::default(),
            lost_in_kernel: 0,
            reported: 0,
            dropped: 0,
            unreported: 0,
            written: 0,
            unwritten: 0,
            begun: 0,
            begun_floods: Vec::new(),
            repeated: 0,
            given_up: false,
            remaining: lines,
            has_late_heading: false,
        }
    }

    fn has_enough(&self) -> bool {
        self.remaining == Some(0)
    }

    /// Counts another line.
    fn count_line(&mut self) {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(1);
        }
    }

    /// Writes to this target instead of standard output.
    pub(crate) fn to(mut self, target: Target, has_late_heading: bool) -> Self {
        self.writer = Writer::new(target.clone());
        self.printer = self.printer.to(target);
        if has_late_heading {
            self.printer.delay_heading();
        }
        Self { has_late_heading, ..self }
    }

    fn drop_lines(&mut self, count: u64) {
        self.dropped += count;
        self.unreported += count;
    }
}

impl Sink for StreamSink {
    fn begin(&mut self) {
        if !self.has_late_heading {
            self.printer.heading();
        }
    }

    fn takes_records(&self) -> bool {
        !self.writer.is_busy() || self.drops
    }

    fn record(&mut self, record: &Record) {
        if self.has_enough() {
            // As if the stream had ended before.
        } else if !self.given_up && self.printer.pending() < KEPT_FOR_READER {
            self.printer.record(record);
            self.count_line();
        } else {
            self.drop_lines(1);
        }
    }

    fn flood(&mut self, flood: &Flood) {
        if self.has_enough() {
            // As if the stream had ended before.
        } else if !self.given_up && self.printer.pending() < KEPT_FOR_READER {
            self.printer.flood(flood);
            self.count_line();
        } else {
            self.drop_lines(flood.count);
        }
    }

    fn lost(&mut self, total: u64) {
        self.lost_in_kernel = total;
    }

    fn flush(&mut self) {
        // A full disk gets no notice either: one follows the first write that succeeds.
        if !self.writer.is_full() && !self.has_enough() {
            let in_kernel =
                self.lost_in_kernel - mem::replace(&mut self.reported, self.lost_in_kernel);
            let count = in_kernel + mem::take(&mut self.unreported);
            if count > 0 {
                self.printer.lost(count);
            }
        }
        if let Some(batch) = self.printer.take() {
            self.writer.start(batch);
            self.begun = self.printer.formatted();
            self.begun_floods = self.printer.take_floods();
        }
    }

    fn is_busy(&self) -> bool {
        self.writer.is_busy()
    }

    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        let written = ready!(self.writer.poll_done(context))?;
        self.printer.reuse(self.writer.spare());
        let batch = self.begun - self.written - self.unwritten;
        Poll::Ready(Ok(match written {
            Written::All => {
                self.written += batch;
                self.repeated += sum(mem::take(&mut self.begun_floods));
                if self.has_enough() && self.printer.pending() == 0 {
                    Ending::Enough
                } else {
                    Ending::Read
                }
            }
            Written::Full { lines, written } => {
                let (out, rest): (Vec<_>, Vec<_>) = mem::take(&mut self.begun_floods)
                    .into_iter()
                    .partition(|(end, _)| *end <= written);
                self.repeated += sum(out);
                // Notices among the lines are not events.
                let lost = lines.saturating_sub(rest.len() as u64).min(batch);
                self.drop_lines(sum(rest));
                self.written += batch - lost;
                self.unwritten += lost;
                self.drop_lines(lost);
                Ending::Read
            }
            Written::ReaderGone => Ending::ReaderGone,
        }))
    }

    fn give_up(&mut self) {
        self.given_up = true;
        let rest = self.printer.formatted() - self.written - self.unwritten;
        self.unwritten += rest;
        self.drop_lines(rest);
        let floods = [mem::take(&mut self.begun_floods), self.printer.take_floods()];
        self.drop_lines(floods.map(sum).into_iter().sum());
    }

    fn progress(&self) -> StreamProgress {
        StreamProgress { shown: self.written, repeated: self.repeated, dropped: self.dropped }
    }

    fn change(&mut self, options: &Options) {
        self.printer.change(options.clone());
        self.drops = options.drops;
    }
}

/// Number of events that floods stand for.
fn sum(floods: Vec<(usize, u64)>) -> u64 {
    floods.into_iter().map(|(_, count)| count).sum()
}
