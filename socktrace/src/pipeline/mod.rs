//! The path of an event: decoded, judged, and given to every sink.
//!
//! A verdict has two more effects. Events that kernel programs could not count are counted here,
//! and verdicts that only the daemon can reach are cached in the kernel. See [`judge`].

mod floods;
mod judge;
mod verdict_cache;

use std::{
    future::{pending, poll_fn},
    mem,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use socktrace_ebpf::{Counter, EventKind, NamedEvent, event::parts};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use self::floods::{Added, Floods, Look};
pub(crate) use self::{judge::Judge, verdict_cache::VerdictCache};
use crate::{
    counts::{Counts, SharedProgress, StreamProgress, UserCounts},
    filter::Filter,
    kernel::{events::Events, repeats::RepeatMaps},
    record::{Decoder, Flood, Record, RemoteNames},
    sinks::{Ending, Options, Sinks},
};

/// Lifetime of a verdict on a cgroup when a filter names containers: some get their name only
/// after they have started, and they can be renamed.
const REFRESH: Duration = Duration::from_secs(5);

/// Maximum time that a reader may take over the last lines.
const LAST_WRITE: Duration = Duration::from_secs(1);

const CANNOT_WRITE: &str = "cannot write the stream";

/// Decodes and judges events, and applies the effects of each verdict.
pub(crate) struct Gate {
    decoder: Decoder,
    judge: Judge,
    verdicts: VerdictCache,
    /// Counts of events that the kernel leaves to the daemon; `None` unless filters narrow the
    /// counts.
    user_counts: Option<Arc<UserCounts>>,
}

impl Gate {
    pub(crate) fn new(
        decoder: Decoder,
        judge: Judge,
        verdicts: VerdictCache,
        user_counts: Option<Arc<UserCounts>>,
    ) -> Self {
        Self { decoder, judge, verdicts, user_counts }
    }

    /// Returns the record of an event that passes.
    pub(crate) fn pass(&mut self, named: &NamedEvent) -> Option<Record> {
        let verdict = self.judge.judge(named, self.user_counts.is_some(), &mut self.decoder);
        for (criterion, is_wanted) in verdict.for_kernel.into_iter().flatten() {
            self.verdicts.set(criterion, is_wanted);
        }
        if let (Some(counts), true) = (&self.user_counts, verdict.is_counted) {
            counts.add(&named.event);
        }
        verdict.shown
    }

    /// Sets the kernel's verdict on events that are not failures.
    fn settle(&mut self) {
        self.verdicts.set_standing(EventKind::ResetSent, self.judge.wants_noise());
    }

    /// Returns the record of a flood that passes.
    fn pass_flood(&mut self, added: &Added) -> Option<Flood> {
        let Added { kind, count, since_ns, repeats } = added;
        let flood = self.decoder.decode_flood(kind, *count, *since_ns, repeats);
        self.judge.shows_flood(&flood).then_some(flood)
    }

    /// Times at which cached verdicts expire; `None` for never.
    fn refreshes(&self) -> Option<Interval> {
        self.judge.depends_on_names().then(|| {
            let mut times = interval_at(Instant::now() + REFRESH, REFRESH);
            times.set_missed_tick_behavior(MissedTickBehavior::Delay);
            times
        })
    }
}

/// Reads events from the kernel, and gives those that pass to the sinks.
pub(crate) struct Pipeline {
    events: Events,
    gate: Gate,
    refreshes: Option<Interval>,
    /// `None` where every event is streamed.
    floods: Option<Floods>,
    names: Option<RemoteNames>,
    sinks: Sinks,
    counts: Arc<Counts>,
    /// Progress of the stream, for metrics.
    progress: Option<Arc<SharedProgress>>,
    /// Events received but not judged yet.
    batch: Vec<NamedEvent>,
    /// Records of the current batch, while their names are looked up.
    records: Vec<Record>,
}

/// Work that a [`Pipeline`] waits for.
pub(crate) enum Step {
    /// Events have arrived.
    Events,
    /// Cached verdicts have expired.
    Refresh,
    /// Floods are due to be looked at.
    Floods,
    /// A sink has finished a write.
    Written(Ending),
}

impl Pipeline {
    /// Creates a pipeline that counts what the kernel leaves to it, and shows nothing.
    pub(crate) fn new(events: Events, gate: Gate, counts: Arc<Counts>) -> Self {
        Self {
            events,
            refreshes: gate.refreshes(),
            gate,
            floods: None,
            names: None,
            sinks: Sinks::default(),
            counts,
            progress: None,
            batch: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Gives records to sinks, too. `repeats` holds events that were only counted, `names` finds
    /// the names of remote addresses, and `progress` is updated as lines are written.
    pub(crate) fn show(
        self,
        sinks: Sinks,
        repeats: Option<RepeatMaps>,
        names: Option<RemoteNames>,
        progress: Option<Arc<SharedProgress>>,
    ) -> Self {
        let floods = repeats.map(Floods::new);
        let mut gate = self.gate;
        gate.judge.serve_all(sinks.want_all());
        gate.settle();
        Self { gate, floods, names, sinks, progress, ..self }
    }

    /// Starts the sinks, for example with a heading.
    pub(crate) fn begin(&mut self) {
        self.sinks.begin();
    }

    /// Makes sinks write, then waits for the next [`Step`] for [`Self::take`]. Cancel safe.
    ///
    /// # Errors
    /// When events cannot be read, or a sink cannot write.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Step> {
        self.flush();
        let takes_events = self.sinks.take_records();
        tokio::select! {
            biased;
            () = next(&mut self.refreshes) => Ok(Step::Refresh),
            written = poll_fn(|context| self.sinks.poll_written(context)) => {
                Ok(Step::Written(written.context(CANNOT_WRITE)?))
            }
            // Counts can wait for a reader, too.
            () = due(self.floods.as_ref()), if takes_events => Ok(Step::Floods),
            // While a sink waits for a reader, events queue in the kernel's ring buffer, and the
            // kernel counts those that do not fit.
            result = self.events.next(&mut self.batch), if takes_events => {
                result.context("cannot read events")?;
                Ok(Step::Events)
            }
        }
    }

    /// Takes a step, and returns whether the stream continues. Must be awaited to the end.
    pub(crate) async fn take(&mut self, step: Step) -> Ending {
        match step {
            Step::Refresh => self.gate.verdicts.refresh(),
            Step::Floods => self.report_floods(Floods::look),
            Step::Written(ending) => {
                self.note();
                return ending;
            }
            Step::Events => self.pass().await,
        }
        Ending::Read
    }

    /// Continues with other options, and with another filter if there is one. `all` is whether
    /// noise is shown, too.
    pub(crate) fn change(&mut self, options: &Options, all: bool, filter: Option<Arc<Filter>>) {
        if self.sinks.are_none() {
            return;
        }
        // Under the options in force when they came.
        self.report_floods(Floods::take);
        self.sinks.change(options);
        self.gate.judge.change(all, filter);
        self.gate.settle();
        self.refreshes = self.gate.refreshes();
    }

    /// Gives the remaining events to the sinks, as long as readers take them. The kernel programs
    /// are detached by then, so that there is an end to the events.
    ///
    /// # Errors
    /// When a sink cannot write.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<()> {
        loop {
            let has_more = self.events.drain(&mut self.batch);
            self.pass().await;
            if !has_more {
                self.report_floods(Floods::take);
                self.sinks.end();
            }
            if !self.write_out().await? || !has_more {
                return Ok(());
            }
        }
    }

    /// Makes sinks write what they hold; returns whether they could.
    async fn write_out(&mut self) -> anyhow::Result<bool> {
        // For each sink the write in progress, and one for what came since.
        for _ in 0..2 * self.sinks.count() {
            self.flush();
            if !self.sinks.is_any_busy() {
                break;
            }
            let written = poll_fn(|context| self.sinks.poll_written(context));
            let Ok(written) = timeout(LAST_WRITE, written).await else { return Ok(false) };
            self.note();
            if written.context(CANNOT_WRITE)? == Ending::ReaderGone {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Judges and counts the events that no sink takes any more, and reports problems with events.
    /// Returns the final progress.
    pub(crate) fn end(mut self) -> StreamProgress {
        self.sinks.give_up();
        let mut has_more = true;
        while has_more {
            // Those that waited for names, then those that came since.
            let mut records = mem::take(&mut self.records);
            records.extend(self.batch.drain(..).filter_map(|event| self.gate.pass(&event)));
            for record in records {
                self.sinks.record(&record, self.gate.judge.audience(record.finding));
            }
            has_more = self.events.drain(&mut self.batch) || !self.batch.is_empty();
        }
        self.report_floods(Floods::take);
        self.note();
        if self.events.undecodable() > 0 {
            log::error!(
                "{} records of the kernel programs were unreadable",
                self.events.undecodable()
            );
        }
        log::debug!("events from the kernel: {}", self.events.received());
        self.progress()
    }

    /// Judges the batch and shows what passes.
    async fn pass(&mut self) {
        if !self.sinks.are_none()
            && self.counts.counter(Counter::OwnersFull).is_ok_and(|count| count > 0)
        {
            self.gate.decoder.owners_are_full();
        }
        if let Some(floods) = &mut self.floods
            && self.batch.iter().any(|named| named.event.parts & parts::WATCH_REPEATS != 0)
        {
            floods.watch();
        }
        let Some(names) = &mut self.names else {
            for event in self.batch.drain(..) {
                if let Some(record) = self.gate.pass(&event) {
                    self.sinks.record(&record, self.gate.judge.audience(record.finding));
                }
            }
            self.note();
            return;
        };
        self.records.extend(self.batch.drain(..).filter_map(|event| self.gate.pass(&event)));
        names.name(&mut self.records).await;
        for record in mem::take(&mut self.records) {
            self.sinks.record(&record, self.gate.judge.audience(record.finding));
        }
        self.note();
    }

    /// Makes sinks start writing what they hold, and reports the events that were lost in the
    /// kernel.
    fn flush(&mut self) {
        // Also true without sinks.
        if self.sinks.are_all_busy() {
            return;
        }
        match self.counts.counter(Counter::EventsLost) {
            Ok(total) => {
                let unattributed = self.unattributed();
                self.sinks.lost(total + unattributed);
                if let Some(floods) = &mut self.floods {
                    floods.watch_if_lost(total);
                }
            }
            // Reading takes a descriptor, and none may be free for a while. Lost events are
            // reported later then.
            Err(error) => log::debug!("{error:#}"),
        }
        self.sinks.flush();
    }

    /// Updates the stream's progress in the metrics.
    fn note(&self) {
        if let Some(progress) = &self.progress {
            progress.note(self.progress());
        }
    }

    fn progress(&self) -> StreamProgress {
        let progress = self.sinks.progress();
        StreamProgress { dropped: progress.dropped + self.unattributed(), ..progress }
    }

    /// Events of floods that no line accounts for.
    fn unattributed(&self) -> u64 {
        self.floods.as_ref().map_or(0, Floods::unattributed)
    }

    /// Shows the events counted in floods since the last time, as found by `look`.
    fn report_floods(&mut self, look: Look) {
        let Some(floods) = &mut self.floods else { return };
        let total = self.counts.counter(Counter::EventsRepeated);
        match look(floods, total) {
            Ok(added) => {
                for added in added {
                    if let Some(flood) = self.gate.pass_flood(&added) {
                        self.sinks.flood(&flood, self.gate.judge.audience(flood.finding));
                    }
                }
            }
            // Perhaps for lack of a free descriptor. The events are reported later then.
            Err(error) => log::debug!("{error:#}"),
        }
    }
}

/// Waits until floods are due to be looked at; forever if there are none.
async fn due(floods: Option<&Floods>) {
    match floods {
        Some(floods) => floods.due().await,
        None => pending().await,
    }
}

/// Waits for the next tick; forever if there is no interval.
async fn next(times: &mut Option<Interval>) {
    match times {
        Some(times) => drop(times.tick().await),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
