//! The metrics, and the sources of their numbers.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use prometheus::proto::MetricFamily;
use socktrace_ebpf::{Counter, ListenerState, TALLY_ENTRIES, sockopt::SOCKOPT_ENTRIES};
use socktrace_history::Counts as HistoryCounts;
use socktrace_otlp::Counts as OtlpCounts;

use super::{
    families::Families,
    netstat::Netstat,
    services::{Page, Services},
    snapshot::{About, MapFill, Snapshot},
    sockets, tracer,
    zeros::Zeros,
};
use crate::{
    counts::{Counts, SharedProgress},
    kernel::{
        listeners::ListenerTable,
        measures::Measures,
        programs::{Programs, Seen},
    },
};

/// Turns the kernel's counts into metrics.
///
/// Each scrape reads the counts again and applies the same diagnosis as the stream, so that the two
/// cannot disagree.
pub(crate) struct Exporter {
    pub(crate) about: About,
    pub(crate) counts: Arc<Counts>,
    pub(crate) measures: Measures,
    pub(crate) programs: Arc<Programs>,
    /// `None` if failures are not counted by service.
    pub(crate) services: Option<Arc<Services>>,
    /// `None` if listeners cannot be read.
    pub(crate) listeners: Option<Arc<ListenerTable>>,
    /// `None` if `/proc` has no netstat.
    pub(crate) netstat: Option<Netstat>,
    /// Failures that are on the page before they happen.
    pub(crate) zeros: Zeros,
    /// Maximum number of entries in the counts by service.
    pub(crate) max_owned: u32,
    /// `None` if no lines are written.
    pub(crate) progress: Option<Arc<SharedProgress>>,
    /// `None` if nothing is sent.
    pub(crate) otlp: Option<Arc<OtlpCounts>>,
    pub(crate) history: Option<Arc<HistoryCounts>>,
}

impl Exporter {
    /// Returns the current metrics.
    ///
    /// # Errors
    /// When the kernel's counts cannot be read.
    pub(crate) fn gather(&self) -> anyhow::Result<Vec<MetricFamily>> {
        let snapshot = self.snapshot()?;
        families(&self.about, &snapshot, tracer::add_process).context("cannot make the metrics")
    }

    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let began = Instant::now();
        // Done first, because it counts the packets that listeners have dropped.
        let listeners = self.look();
        let counters = Counter::ALL
            .iter()
            .map(|&counter| Ok((counter, self.counts.counter(counter)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let Seen { missed, runs, memory: bpf_memory } = self.programs.look();
        let mut snapshot = Snapshot {
            signatures: self.counts.signatures()?,
            counters,
            measured: self.measures.read()?,
            services: self.services(listeners.as_deref())?,
            stream: self.progress.as_ref().map(|progress| progress.stream()),
            other_netstat: self.other_netstat(listeners.as_deref()),
            otlp: self.otlp.as_ref().map(|counts| counts.read()),
            history: self.history.as_ref().map(|counts| counts.read()),
            netstat: self.netstat.as_ref().map_or(Ok(Vec::new()), Netstat::read)?,
            missed,
            runs,
            bpf_memory,
            ..Snapshot::default()
        };
        snapshot.sockopts_beyond = snapshot.counter(Counter::SockoptsFull);
        snapshot.maps = self.maps(&snapshot);
        // After the maps, which do not contain the zeros.
        self.zeros.add_to(&mut snapshot.signatures);
        snapshot.duration = began.elapsed();
        Ok(snapshot)
    }

    fn services(&self, listeners: Option<&[ListenerState]>) -> anyhow::Result<Option<Page>> {
        let Some(services) = &self.services else { return Ok(None) };
        let mut page = services.read(&self.counts)?;
        if let (Some(page), Some(listeners)) = (&mut page, listeners) {
            page.queues = services.queues(listeners, self.about.service_ports);
        }
        Ok(page)
    }

    fn other_netstat(&self, listeners: Option<&[ListenerState]>) -> Vec<(&'static str, u64)> {
        let (Some(netstat), Some(listeners)) = (&self.netstat, listeners) else {
            return Vec::new();
        };
        netstat.read_others(listeners)
    }

    /// Current listeners; `None` if they cannot be read, for example for lack of a free descriptor.
    fn look(&self) -> Option<Vec<ListenerState>> {
        let looked = self.listeners.as_ref()?.look();
        looked.inspect_err(|error| log::debug!("{error:#}")).ok()
    }

    fn maps(&self, snapshot: &Snapshot) -> Vec<MapFill> {
        let recorded = snapshot.counter(Counter::OwnersRecorded);
        let owners = recorded.saturating_sub(snapshot.counter(Counter::OwnersForgotten));
        let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let mut maps = vec![
            MapFill {
                map: "owners",
                entries: number(owners),
                max_entries: number(u64::from(self.about.max_sockets)),
            },
            MapFill {
                map: "signatures",
                entries: snapshot.signatures.len(),
                max_entries: TALLY_ENTRIES,
            },
            MapFill {
                map: "sockopts",
                entries: snapshot.measured.sockopts.len(),
                max_entries: SOCKOPT_ENTRIES,
            },
        ];
        if let Some(page) = &snapshot.services {
            let max_entries = number(u64::from(self.max_owned));
            maps.push(MapFill { map: "services", entries: page.entries, max_entries });
        }
        maps
    }
}

/// Metric families of a snapshot, and those that `add` adds.
fn families(
    about: &About,
    snapshot: &Snapshot,
    add: impl FnOnce(&Families) -> prometheus::Result<()>,
) -> prometheus::Result<Vec<MetricFamily>> {
    let mut families = Families::new();
    sockets::add(&mut families, about, snapshot)?;
    tracer::add(&families, about, snapshot)?;
    add(&families)?;
    Ok(families.finish())
}

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
