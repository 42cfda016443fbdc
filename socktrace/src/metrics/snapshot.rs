//! All that a page of metrics is made of, as plain data.

use std::{collections::BTreeMap, time::Duration};

use socktrace_ebpf::{Counter, Signature};
use socktrace_otlp::Numbers;

use super::services::Page;
use crate::{
    counts::StreamProgress,
    kernel::{health::Health, hooks::Hook, load::Measurable, measures::Measured, programs::Runs},
};

/// What stays the same as long as the daemon runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) health: Health,
    pub(crate) measurable: Measurable,
    /// The kernel's names of reasons for an RST.
    pub(crate) rst_reasons: Vec<(u32, String)>,
    /// Whether failures by service are distinguished by port.
    pub(crate) service_ports: bool,
    pub(crate) version: &'static str,
    /// What it was built from.
    pub(crate) commit: &'static str,
    /// Release of the running kernel.
    pub(crate) kernel: String,
    /// Of how many sockets the owner can be remembered.
    pub(crate) max_sockets: u32,
}

/// The numbers at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) signatures: BTreeMap<Signature, u64>,
    pub(crate) counters: Vec<(Counter, u64)>,
    pub(crate) measured: Measured,
    /// Refused options that found no room among those measured.
    pub(crate) sockopts_beyond: u64,
    /// `None` where owners are not counted.
    pub(crate) services: Option<Page>,
    /// Numbers of the host's network namespace, by the kernel's name.
    pub(crate) netstat: Vec<(&'static str, u64)>,
    /// The same, summed over other namespaces in which somebody listens.
    pub(crate) other_netstat: Vec<(&'static str, u64)>,
    /// `None` where there are no lines.
    pub(crate) stream: Option<StreamProgress>,
    /// `None` where nothing is sent by OTLP.
    pub(crate) otlp: Option<Numbers>,
    /// What became of lines of the history; `None` where none is kept.
    pub(crate) history: Option<socktrace_history::Numbers>,
    pub(crate) missed: BTreeMap<Hook, u64>,
    /// `None` where the kernel does not measure it.
    pub(crate) runs: Option<BTreeMap<&'static str, Runs>>,
    pub(crate) maps: Vec<MapFill>,
    pub(crate) bpf_memory: Option<u64>,
    pub(crate) duration: Duration,
}

/// How full a map of the kernel side is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapFill {
    pub(crate) map: &'static str,
    pub(crate) entries: usize,
    pub(crate) max_entries: usize,
}

impl Snapshot {
    /// One of the kernel side's counters of its own.
    pub(super) fn counter(&self, counter: Counter) -> u64 {
        self.counters.iter().find(|(known, _)| *known == counter).map_or(0, |(_, count)| *count)
    }
}
