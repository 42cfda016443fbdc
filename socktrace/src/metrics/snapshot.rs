//! All that a page of metrics is made from, as plain data.

use std::{collections::BTreeMap, time::Duration};

use socktrace_ebpf::{Counter, Signature};
use socktrace_otlp::Numbers;

use super::services::Page;
use crate::{
    counts::StreamProgress,
    kernel::{health::Health, hooks::Hook, load::Measurable, measures::Measured, programs::Runs},
};

/// Facts that stay the same while the daemon runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) health: Health,
    pub(crate) measurable: Measurable,
    /// The kernel's names of RST reasons.
    pub(crate) rst_reasons: Vec<(u32, String)>,
    /// Whether failures by service are distinguished by port.
    pub(crate) service_ports: bool,
    pub(crate) version: &'static str,
    /// Commit that it was built from.
    pub(crate) commit: &'static str,
    /// Release of the running kernel.
    pub(crate) kernel: String,
    /// Maximum number of sockets whose owner is tracked.
    pub(crate) max_sockets: u32,
}

/// Numbers at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) signatures: BTreeMap<Signature, u64>,
    pub(crate) counters: Vec<(Counter, u64)>,
    pub(crate) measured: Measured,
    /// Refused options for which there was no room in the measurements.
    pub(crate) sockopts_beyond: u64,
    /// `None` if owners are not counted.
    pub(crate) services: Option<Page>,
    /// Counters of the host's network namespace, by the kernel's names.
    pub(crate) netstat: Vec<(&'static str, u64)>,
    /// Their sums over other namespaces with listeners.
    pub(crate) other_netstat: Vec<(&'static str, u64)>,
    /// `None` if no lines are written.
    pub(crate) stream: Option<StreamProgress>,
    /// `None` if nothing is sent by OTLP.
    pub(crate) otlp: Option<Numbers>,
    /// Outcome of lines of the history; `None` if none is kept.
    pub(crate) history: Option<socktrace_history::Numbers>,
    pub(crate) missed: BTreeMap<Hook, u64>,
    /// `None` if the kernel does not measure them.
    pub(crate) runs: Option<BTreeMap<&'static str, Runs>>,
    pub(crate) maps: Vec<MapFill>,
    pub(crate) bpf_memory: Option<u64>,
    pub(crate) duration: Duration,
}

/// Fill level of a map in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapFill {
    pub(crate) map: &'static str,
    pub(crate) entries: usize,
    pub(crate) max_entries: usize,
}

impl Snapshot {
    /// One of the kernel programs' own counters.
    pub(super) fn counter(&self, counter: Counter) -> u64 {
        self.counters.iter().find(|(known, _)| *known == counter).map_or(0, |(_, count)| *count)
    }
}
