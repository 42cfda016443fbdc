//! Writes counts in place of lines, one block per interval.

use std::{
    io, mem,
    task::{Context, Poll, ready},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    Clock, Ending, Options, Sink, Target,
    json::event_name,
    printer,
    summary::{Moment, Summary},
    writer::{Writer, Written},
};
use crate::{
    counts::StreamProgress,
    record::{Flood, Record},
};

/// Writes blocks. It accepts events while a reader is slow, because more of them take no more room.
pub(crate) struct SummarySink {
    options: Options,
    interval: Duration,
    /// `None` before the start and after the end.
    ticks: Option<Interval>,
    since: Instant,
    /// Whether a block is due once the last one is written.
    is_due: bool,
    /// Number of blocks still to be written; `None` for no limit.
    remaining: Option<u32>,
    summary: Summary,
    writer: Writer,
    /// Contents of the block that is being written.
    begun: StreamProgress,
    progress: StreamProgress,
    /// Events lost in the kernel, as of the last block and now.
    reported: u64,
    lost: u64,
    given_up: bool,
}

impl SummarySink {
    pub(crate) fn new(options: Options, interval: Duration, blocks: Option<u32>) -> Self {
        Self {
            options,
            interval,
            ticks: None,
            since: Instant::now(),
            is_due: false,
            remaining: blocks,
            summary: Summary::default(),
            writer: Writer::default(),
            begun: StreamProgress::default(),
            progress: StreamProgress::default(),
            reported: 0,
            lost: 0,
            given_up: false,
        }
    }

    /// Writes to this target instead of standard output.
    pub(crate) fn to(self, target: Target) -> Self {
        Self { writer: Writer::new(target), ..self }
    }

    fn write_block(&mut self) {
        self.is_due = false;
        let mut summary = mem::take(&mut self.summary);
        summary.lost = self.lost - mem::replace(&mut self.reported, self.lost);
        let now = Instant::now();
        let span = now - mem::replace(&mut self.since, now);
        let zone = printer::zone(self.options.clock);
        let zone = (self.options.clock != Clock::None).then_some(&zone);
        let moment = Moment { time: Timestamp::now(), span, zone };
        let mut block = Vec::new();
        if let Err(error) = summary.write(&mut block, self.options.format, &moment) {
            // Writing to memory cannot fail.
            log::error!("a summary could not be formatted: {error}");
        }
        self.begun =
            StreamProgress { shown: summary.shown, repeated: summary.repeated, dropped: 0 };
        self.writer.start(block);
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(1);
        }
    }

    fn has_enough(&self) -> bool {
        self.remaining == Some(0)
    }

    /// Counts events that are in no block.
    fn drop_events(&mut self, events: &StreamProgress) {
        self.progress.dropped += events.shown + events.repeated;
    }
}

impl Sink for SummarySink {
    fn begin(&mut self) {
        self.since = Instant::now();
        let mut ticks = interval_at(self.since + self.interval, self.interval);
        // A block has the events of its interval, however late it is.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.ticks = Some(ticks);
    }

    fn takes_records(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Record) {
        if self.given_up {
            self.progress.dropped += 1;
        } else if !self.has_enough() {
            let event = event_name(record.finding, record.event.signature.kind);
            let service = record.service.label();
            self.summary.add(event, record.finding, service.as_deref(), 1);
            self.summary.shown += 1;
        }
    }

    fn flood(&mut self, flood: &Flood) {
        if self.given_up {
            self.progress.dropped += flood.count;
        } else if !self.has_enough() {
            let event = event_name(flood.finding, flood.signature.kind);
            let service = flood.service.label();
            self.summary.add(event, flood.finding, service.as_deref(), flood.count);
            self.summary.repeated += flood.count;
        }
    }

    fn lost(&mut self, total: u64) {
        self.lost = total;
    }

    fn end(&mut self) {
        self.ticks = None;
        let has_news = !self.summary.is_empty() || self.lost > self.reported;
        self.is_due |= has_news && !self.has_enough();
    }

    fn flush(&mut self) {
        if mem::take(&mut self.is_due) && !self.given_up {
            self.write_block();
        }
    }

    fn is_busy(&self) -> bool {
        self.writer.is_busy()
    }

    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        if let Some(ticks) = self.ticks.as_mut().filter(|_| self.remaining != Some(0)) {
            while ticks.poll_tick(context).is_ready() {
                self.is_due = true;
            }
        }
        if !self.writer.is_busy() {
            self.flush();
        }
        let written = ready!(self.writer.poll_done(context))?;
        let begun = mem::take(&mut self.begun);
        Poll::Ready(Ok(match written {
            Written::All => {
                self.progress.shown += begun.shown;
                self.progress.repeated += begun.repeated;
                if self.has_enough() { Ending::Enough } else { Ending::Read }
            }
            Written::Full { .. } => {
                self.drop_events(&begun);
                Ending::Read
            }
            Written::ReaderGone => {
                self.drop_events(&begun);
                Ending::ReaderGone
            }
        }))
    }

    fn give_up(&mut self) {
        self.given_up = true;
        let begun = mem::take(&mut self.begun);
        self.drop_events(&begun);
        let summary = mem::take(&mut self.summary);
        self.progress.dropped += summary.shown + summary.repeated;
    }

    fn progress(&self) -> StreamProgress {
        self.progress
    }

    fn change(&mut self, options: &Options) {
        self.options = options.clone();
    }
}
