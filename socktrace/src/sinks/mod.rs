//! Destinations of records: aligned lines for a terminal, JSON lines for everything else.

mod accept_queue;
mod by_whom;
mod columns;
mod datagram;
mod end_of_file;
mod facts;
mod flood;
#[cfg(test)]
mod fuzz;
mod gave_up;
#[cfg(test)]
mod golden_tests;
mod human;
mod icmp;
mod json;
mod no_socket;
mod not_sent;
mod object;
mod printer;
mod ran_out;
mod read_back;
mod reason;
mod refused_call;
mod remarks;
#[cfg(test)]
mod replay_tests;
mod reset_sent;
mod stream_sink;
mod summary;
mod summary_sink;
mod target;
#[cfg(test)]
mod tests;
mod unix;
mod was_reset;
mod writer;

use std::{
    io,
    task::{Context, Poll},
};

use anstream::ColorChoice;

pub(crate) use self::{
    columns::ColumnList,
    flood::{reason as flood_reason, write_json as flood_to_json},
    json::{LastLine, event_name, write as record_to_json},
    printer::Printer,
    reason::reason,
    stream_sink::StreamSink,
    summary_sink::SummarySink,
    target::Target,
};
use crate::{
    counts::StreamProgress,
    record::{Flood, Record},
};

/// Format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// JSON lines.
    Json,
}

/// Time zone of timestamps in lines for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The system's time zone.
    Local,
    /// UTC.
    Utc,
    /// No timestamps.
    None,
}

/// Settings of sinks that can change while they run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) format: Format,
    pub(crate) color: ColorChoice,
    pub(crate) clock: Clock,
    /// Columns of lines for people; `None` for those that fit.
    pub(crate) columns: Option<ColumnList>,
    /// Whether records are dropped, and counted, while a reader is slow. Otherwise they wait in the
    /// kernel's ring buffer.
    pub(crate) drops: bool,
}

/// Outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The reader is still there.
    Read,
    /// The reader has gone (`socktrace | head`).
    ReaderGone,
    /// The requested number of lines has been written.
    Enough,
}

/// Sinks that take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// All sinks.
    Everybody,
    /// Sinks that want everything: the record is part of ordinary operation.
    WhoeverWantsAll,
}

/// A destination of records.
///
/// Records are added one by one and written in batches. A sink counts the records that it could not
/// take, and reports them in its own output once it can.
///
/// The defaults are for a sink that queues what it gets and never waits.
pub(crate) trait Sink {
    /// Starts, for example with a heading.
    fn begin(&mut self) {}

    /// Whether records are accepted now. While one sink accepts none, events wait in the kernel's
    /// ring buffer for all of them.
    fn takes_records(&self) -> bool;

    /// Whether the sink takes events of ordinary operation even without `--all`.
    fn wants_all(&self) -> bool {
        false
    }

    /// Adds a record.
    fn record(&mut self, record: &Record);

    /// Adds a flood, which stands for many events.
    fn flood(&mut self, flood: &Flood);

    /// Reports the number of events lost in the kernel since the start.
    fn lost(&mut self, total: u64);

    /// Makes the sink write what it has buffered, as nothing more will come.
    fn end(&mut self) {}

    /// Starts writing what was added. Must not be called while busy.
    fn flush(&mut self) {}

    /// Whether a write is in progress.
    fn is_busy(&self) -> bool {
        false
    }

    /// Waits for the end of the write in progress; forever if there is none.
    ///
    /// # Errors
    /// The error that ended the write, unless an [`Ending`] describes it.
    fn poll_written(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        Poll::Pending
    }

    /// Stops writing. What was not written counts as dropped, and so does all that follows.
    fn give_up(&mut self) {}

    /// Progress of the sink's lines, without anything counted elsewhere.
    fn progress(&self) -> StreamProgress {
        StreamProgress::default()
    }

    /// Applies other options, where they concern the sink.
    fn change(&mut self, _options: &Options) {}
}

/// Several sinks, each of which gets every record.
#[derive(Default)]
pub(crate) struct Sinks(Vec<Box<dyn Sink>>);

impl Sinks {
    pub(crate) fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self(sinks)
    }

    /// Whether there are no sinks.
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts each sink.
    pub(crate) fn begin(&mut self) {
        self.each(|sink| sink.begin());
    }

    /// Whether all sinks accept records now.
    pub(crate) fn take_records(&self) -> bool {
        self.0.iter().all(|sink| sink.takes_records())
    }

    /// Whether any sink takes events of ordinary operation in any case.
    pub(crate) fn want_all(&self) -> bool {
        self.0.iter().any(|sink| sink.wants_all())
    }

    /// Adds a record to each sink that takes it.
    pub(crate) fn record(&mut self, record: &Record, audience: Audience) {
        self.for_each_of(audience, |sink| sink.record(record));
    }

    /// Adds a flood to each sink that takes it.
    pub(crate) fn flood(&mut self, flood: &Flood, audience: Audience) {
        self.for_each_of(audience, |sink| sink.flood(flood));
    }

    /// See [`Sink::lost`].
    pub(crate) fn lost(&mut self, total: u64) {
        self.each(|sink| sink.lost(total));
    }

    /// See [`Sink::end`].
    pub(crate) fn end(&mut self) {
        self.each(|sink| sink.end());
    }

    /// See [`Sink::give_up`].
    pub(crate) fn give_up(&mut self) {
        self.each(|sink| sink.give_up());
    }

    /// Makes the sinks write that are not busy.
    pub(crate) fn flush(&mut self) {
        for sink in self.0.iter_mut().filter(|sink| !sink.is_busy()) {
            sink.flush();
        }
    }

    /// Whether a write is in progress in each sink.
    pub(crate) fn are_all_busy(&self) -> bool {
        self.0.iter().all(|sink| sink.is_busy())
    }

    /// Whether a write is in progress in any sink.
    pub(crate) fn is_any_busy(&self) -> bool {
        self.0.iter().any(|sink| sink.is_busy())
    }

    /// Number of sinks.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits for the end of a write in any sink.
    ///
    /// # Errors
    /// See [`Sink::poll_written`].
    pub(crate) fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        let mut polled = self.0.iter_mut().map(|sink| sink.poll_written(context));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    /// Combined progress of all sinks.
    pub(crate) fn progress(&self) -> StreamProgress {
        let progresses = self.0.iter().map(|sink| sink.progress());
        progresses.fold(StreamProgress::default(), |sum, one| StreamProgress {
            shown: sum.shown + one.shown,
            repeated: sum.repeated + one.repeated,
            dropped: sum.dropped + one.dropped,
        })
    }

    /// See [`Sink::change`].
    pub(crate) fn change(&mut self, options: &Options) {
        self.each(|sink| sink.change(options));
    }

    fn for_each_of(&mut self, audience: Audience, mut act: impl FnMut(&mut Box<dyn Sink>)) {
        self.each(|sink| {
            if audience == Audience::Everybody || sink.wants_all() {
                act(sink);
            }
        });
    }

    fn each(&mut self, act: impl FnMut(&mut Box<dyn Sink>)) {
        self.0.iter_mut().for_each(act);
    }
}
