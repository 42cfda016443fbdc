//! The daemon's loop: prints events, and is a service meanwhile, until told to stop.

use std::{collections::BTreeMap, future::pending, mem, sync::Arc, time::Duration};

use anyhow::Context as _;
use socktrace_diagnosis::{Cause, Finding, diagnose};
use socktrace_ebpf::{Counter, Event};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use crate::{
    cli::OnFull,
    config::{self, Resolved},
    filter::{Counts, Gate},
    kernel::stream::Events,
    metrics::{Progress, Stream as Progressed},
    output::{
        Decoder, Record,
        stream::Printer,
        writer::{Writer, Written},
    },
    resolve::Names,
    service::{
        log::NOTICE,
        manager::Manager,
        signals::{ReloadSignal, StopSignals},
    },
};

/// With `--on-full drop`, the most bytes that are kept for a reader who is slow.
const KEPT_FOR_READER: usize = 1 << 20;

/// How long a reader may take over the last lines.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What can change while it runs. Other settings are built into the loaded programs, or bound.
const RELOADABLE: [&str; 4] = ["all", "color", "on-full", "output"];

/// What the stream came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// Events shown.
    pub(super) lines: u64,
    /// Events that were received and not shown: the reader was slow, or the disk full.
    pub(super) dropped: u64,
}

/// How many failures were counted, by their causes.
pub(super) fn failures(counts: &Counts) -> anyhow::Result<BTreeMap<Cause, u64>> {
    let mut causes = BTreeMap::new();
    for (signature, count) in counts.signatures()? {
        if let Finding::Failure(found) = diagnose(signature) {
            *causes.entry(found.cause).or_default() += count;
        }
    }
    Ok(causes)
}

/// What makes the loop a service.
pub(super) struct Service {
    pub(super) manager: Manager,
    pub(super) reload: ReloadSignal,
    pub(super) counts: Arc<Counts>,
    /// How many hooks are attached.
    pub(super) hooks: usize,
}

impl Service {
    /// The state in a line, read from the kernel: what cannot be read is no sign of life.
    fn status(&self) -> anyhow::Result<String> {
        let failures: u64 = failures(&self.counts)?.values().sum();
        let lost = self.counts.counter(Counter::EventsLost)?;
        Ok(format!("{} hooks; {failures} failures counted, {lost} events lost", self.hooks))
    }

    fn ready(&self) {
        if !self.manager.listens() {
            return;
        }
        // It is, even if nobody can read the counts for a moment.
        self.manager.ready(&self.status().unwrap_or_else(|error| format!("{error:#}")));
    }

    fn alive(&self) {
        match self.status() {
            Ok(status) => self.manager.alive(&status),
            // As without a free descriptor. The manager decides how long to bear it.
            Err(error) => log::warn!("no sign of life for the service manager: {error:#}"),
        }
    }

    /// Reads the configuration again and has what can change applied. What differs from the start is
    /// named each time, so that nobody forgets what waits for a restart.
    fn reload(&self, resolved: &Resolved, apply: impl FnOnce(&Resolved)) {
        self.manager.reloading();
        match Resolved::of_process() {
            Ok(new) => {
                let (applied, waiting): (Vec<_>, Vec<_>) =
                    resolved.changes(&new).into_iter().partition(|name| RELOADABLE.contains(name));
                if !waiting.is_empty() {
                    log::warn!("changed, but only a restart makes it so: {}", waiting.join(", "));
                }
                log::info!(
                    target: NOTICE,
                    "the configuration was read again; changed since the start: {}",
                    list(&applied)
                );
                apply(&new);
            }
            Err(config::Error::Settings(problems)) => {
                for problem in problems {
                    log::error!("{problem}");
                }
                log::error!("the configuration stays as it was");
            }
            Err(config::Error::Usage(error)) => {
                log::error!("the configuration stays as it was: {error}");
            }
        }
        self.ready();
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Only counts, until told to stop.
pub(super) async fn count(
    mut service: Service,
    resolved: Resolved,
    stop: &mut StopSignals,
) -> anyhow::Result<()> {
    service.ready();
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = service.manager.due() => service.alive(),
            () = service.reload.wait() => service.reload(&resolved, |_| {}),
        }
    }
    service.manager.stopping();
    Ok(())
}

/// Where events come from, and what it takes to tell which of them pass.
pub(super) struct Source {
    pub(super) events: Events,
    pub(super) decoder: Decoder,
    pub(super) gate: Gate,
}

/// What shows events.
pub(super) struct Shower {
    pub(super) names: Option<Names>,
    pub(super) printer: Printer,
    pub(super) progress: Arc<Progress>,
}

/// The times at which a gate is to be refreshed.
fn refreshes(gate: &Gate) -> Option<Interval> {
    let period = gate.refresh_period()?;
    let mut times = interval_at(Instant::now() + period, period);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(times)
}

/// Waits for the next time, forever where there is none.
async fn next(times: &mut Option<Interval>) {
    match times {
        Some(times) => drop(times.tick().await),
        None => pending().await,
    }
}

/// Judges and counts the events that the kernel side has left to be counted here, until told to stop.
pub(super) async fn judge(
    source: Source,
    mut service: Service,
    resolved: Resolved,
    stop: &mut StopSignals,
) -> anyhow::Result<()> {
    let Source { mut events, mut decoder, mut gate } = source;
    let mut refreshes = refreshes(&gate);
    let mut batch = Vec::new();
    service.ready();
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = service.manager.due() => service.alive(),
            () = service.reload.wait() => service.reload(&resolved, |_| {}),
            () = next(&mut refreshes) => gate.refresh(),
            result = events.next(&mut batch) => {
                result.context("cannot read events")?;
                for event in batch.drain(..) {
                    // Counted, and shown to nobody.
                    let _record = gate.pass(event, &mut decoder);
                }
            }
        }
    }
    service.manager.stopping();
    events.drain(&mut batch);
    for event in batch {
        let _record = gate.pass(event, &mut decoder);
    }
    Ok(())
}

/// Prints events until told to stop, or until nobody reads them.
pub(super) async fn stream(
    source: Source,
    shower: Shower,
    mut service: Service,
    resolved: Resolved,
    stop: &mut StopSignals,
) -> anyhow::Result<Shown> {
    let Source { mut events, decoder, gate } = source;
    let Shower { names, printer, progress } = shower;
    let mut refreshes = refreshes(&gate);
    let mut stream = Stream {
        decoder,
        gate,
        names,
        records: Vec::new(),
        printer,
        writer: Writer::default(),
        progress,
        on_full: resolved.cli.on_full,
        lost_in_kernel: 0,
        dropped: 0,
        untold: 0,
    };
    let mut batch = Vec::new();
    stream.printer.heading();
    service.ready();
    let mut is_read = true;
    while is_read {
        stream.write_on(&service.counts);
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = service.manager.due() => service.alive(),
            () = service.reload.wait() => service.reload(&resolved, |new| stream.change(new)),
            () = next(&mut refreshes) => stream.gate.refresh(),
            written = stream.writer.done(), if stream.writer.is_busy() => {
                is_read = stream.wrote(written.context(CANNOT_WRITE)?);
            }
            // While the writer waits for a reader, the kernel's ring buffer is the queue, and
            // counts what it cannot hold.
            result = events.next(&mut batch), if stream.takes_events() => {
                result.context("cannot read events")?;
                if service.counts.counter(Counter::OwnersFull).is_ok_and(|count| count > 0) {
                    stream.decoder.owners_are_full();
                }
                stream.add(&mut batch).await;
            }
        }
    }
    service.manager.stopping();
    if is_read {
        tokio::select! {
            biased;
            () = stop.wait() => {}
            result = stream.finish(&mut events, &mut batch, &service.counts) => result?,
        }
    }
    if events.undecodable() > 0 {
        log::error!("{} records of the kernel programs were unreadable", events.undecodable());
    }
    log::debug!("events from the kernel: {}", events.received());
    Ok(Shown { lines: stream.printer.shown(), dropped: stream.dropped })
}

const CANNOT_WRITE: &str = "cannot write the stream";

/// The way from events to standard output.
struct Stream {
    decoder: Decoder,
    gate: Gate,
    names: Option<Names>,
    /// Of the batch at hand.
    records: Vec<Record>,
    printer: Printer,
    writer: Writer,
    progress: Arc<Progress>,
    on_full: OnFull,
    /// What the kernel had no room for and the stream has told.
    lost_in_kernel: u64,
    /// What was received and not shown.
    dropped: u64,
    /// What of it the stream has not told yet.
    untold: u64,
}

impl Stream {
    fn takes_events(&self) -> bool {
        !self.writer.is_busy() || self.on_full == OnFull::Drop
    }

    async fn add(&mut self, batch: &mut Vec<Event>) {
        for event in batch.drain(..) {
            self.records.extend(self.gate.pass(event, &mut self.decoder));
        }
        if let Some(names) = &mut self.names {
            names.name(&mut self.records).await;
        }
        let mut dropped = 0;
        for record in self.records.drain(..) {
            if self.printer.pending() < KEPT_FOR_READER {
                self.printer.record(&record);
            } else {
                dropped += 1;
            }
        }
        self.drop_lines(dropped);
    }

    fn drop_lines(&mut self, count: u64) {
        self.dropped += count;
        self.untold += count;
        self.note();
    }

    /// Has metrics know how far the stream has come.
    fn note(&self) {
        self.progress.note(Progressed { shown: self.printer.shown(), dropped: self.dropped });
    }

    /// Begins to write what there is, with what was lost, unless the last write still goes on.
    fn write_on(&mut self, counts: &Counts) {
        if self.writer.is_busy() {
            return;
        }
        // A full disk takes no notice either: the first write that succeeds is followed by one.
        if !self.writer.is_full() {
            // Reading takes a descriptor, of which there may be none for a time. What was lost is
            // told later then.
            let lost = counts.counter(Counter::EventsLost).unwrap_or_else(|error| {
                log::debug!("{error:#}");
                self.lost_in_kernel
            });
            let in_kernel = lost - mem::replace(&mut self.lost_in_kernel, lost);
            let count = in_kernel + mem::take(&mut self.untold);
            if count > 0 {
                self.printer.lost(count);
            }
        }
        if let Some(batch) = self.printer.take() {
            self.writer.start(batch);
        }
    }

    /// Notes how a write ended; whether somebody still reads.
    fn wrote(&mut self, written: Written) -> bool {
        self.printer.reuse(self.writer.spare());
        match written {
            Written::All => true,
            Written::Full(lines) => {
                self.drop_lines(lines);
                true
            }
            Written::ReaderGone => false,
        }
    }

    fn change(&mut self, resolved: &Resolved) {
        let cli = &resolved.cli;
        self.printer.change(cli.output, cli.color);
        self.gate.change(cli.all);
        self.on_full = cli.on_full;
    }

    /// Shows what came before the end, if the reader takes it.
    async fn finish(
        &mut self,
        events: &mut Events,
        batch: &mut Vec<Event>,
        counts: &Counts,
    ) -> anyhow::Result<()> {
        events.drain(batch);
        self.add(batch).await;
        // The write that goes on, and one with what came since.
        for _ in 0..2 {
            self.write_on(counts);
            if !self.writer.is_busy() {
                break;
            }
            let Ok(written) = timeout(LAST_WRITE, self.writer.done()).await else { break };
            if !self.wrote(written.context(CANNOT_WRITE)?) {
                break;
            }
        }
        Ok(())
    }
}
