//! Where records go: aligned lines for a terminal, JSON lines for everything else.

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

/// The format of lines.
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
    /// They do not say when.
    None,
}

/// Settings of sinks that can change while they run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) format: Format,
    pub(crate) color: ColorChoice,
    pub(crate) clock: Clock,
    /// The columns of lines for people; `None` for those that fit.
    pub(crate) columns: Option<ColumnList>,
    /// Whether records are dropped, and counted, while a reader is slow. Else they wait in the
    /// kernel's ring buffer.
    pub(crate) drops: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Somebody still reads.
    Read,
    /// Nobody reads any more (`socktrace | head`).
    ReaderGone,
    /// The requested number of lines is written.
    Enough,
}

/// Which sinks take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// All of them.
    Everybody,
    /// Sinks that want everything: it is part of ordinary operation.
    WhoeverWantsAll,
}

/// A place where records go.
///
/// Records are added one by one and written in batches. A sink counts what it could not take, and
/// reports it in its own output once it can.
/// The defaults are for a sink that queues what it gets and never waits.
pub(crate) trait Sink {
    /// Begins, as with a heading.
    fn begin(&mut self) {}

    /// Whether records are taken now. While one sink takes none, events wait in the kernel's ring
    /// buffer for all of them.
    fn takes_records(&self) -> bool;

    /// Whether it takes what ordinary operation brings too, though nobody has asked for that by `--all`.
    fn wants_all(&self) -> bool {
        false
    }

    /// Adds a record.
    fn record(&mut self, record: &Record);

    /// Adds a flood, which stands for many events.
    fn flood(&mut self, flood: &Flood);

    /// Reports that the kernel side has had no room for so many events since the start.
    fn lost(&mut self, total: u64);

    /// Makes it write what it has buffered, as nothing more comes.
    fn end(&mut self) {}

    /// Begins to write what was added. Only when not busy.
    fn flush(&mut self) {}

    /// Whether a write goes on.
    fn is_busy(&self) -> bool {
        false
    }

    /// Waits for the end of the write that goes on; forever where there is none.
    ///
    /// # Errors
    /// The error that ended it, unless an [`Ending`] did.
    fn poll_written(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        Poll::Pending
    }

    /// Writes nothing any more: what was not written is counted as dropped, and so is what comes.
    fn give_up(&mut self) {}

    /// How far its lines have come; nothing of what is counted elsewhere.
    fn progress(&self) -> StreamProgress {
        StreamProgress::default()
    }

    /// Goes on with other options, as far as they concern it.
    fn change(&mut self, _options: &Options) {}
}

/// Several sinks, each of which gets every record.
#[derive(Default)]
pub(crate) struct Sinks(Vec<Box<dyn Sink>>);

impl Sinks {
    pub(crate) fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self(sinks)
    }

    /// Whether records go nowhere.
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes each of them begin.
    pub(crate) fn begin(&mut self) {
        self.each(|sink| sink.begin());
    }

    /// Whether all of them take records now.
    pub(crate) fn take_records(&self) -> bool {
        self.0.iter().all(|sink| sink.takes_records())
    }

    /// Whether any of them takes what ordinary operation brings, unasked.
    pub(crate) fn want_all(&self) -> bool {
        self.0.iter().any(|sink| sink.wants_all())
    }

    /// Adds a record to each that takes it.
    pub(crate) fn record(&mut self, record: &Record, audience: Audience) {
        self.for_each_of(audience, |sink| sink.record(record));
    }

    /// Adds a flood to each that takes it.
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

    /// Makes those write that are not busy.
    pub(crate) fn flush(&mut self) {
        for sink in self.0.iter_mut().filter(|sink| !sink.is_busy()) {
            sink.flush();
        }
    }

    /// Whether a write goes on in each of them.
    pub(crate) fn are_all_busy(&self) -> bool {
        self.0.iter().all(|sink| sink.is_busy())
    }

    /// Whether a write goes on in any of them.
    pub(crate) fn is_any_busy(&self) -> bool {
        self.0.iter().any(|sink| sink.is_busy())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits for the end of a write in any of them.
    ///
    /// # Errors
    /// See [`Sink::poll_written`].
    pub(crate) fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        let mut polled = self.0.iter_mut().map(|sink| sink.poll_written(context));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    }

    /// Their common progress.
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
