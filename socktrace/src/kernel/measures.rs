//! Measurements of the kernel programs beyond signatures: how many, how long, how full.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::maps::{HashMap, MapData, PerCpuArray};
use socktrace_ebpf::{
    Family, RST_ANSWERERS, RST_REASONS, Sockopt,
    histogram::{ACCEPT_WAIT_MS, QUEUE_PERCENT, RTO_MS, slots, sum_slot},
};

use super::{maps::take, object::Object};

/// Maps of the measurements.
pub(crate) struct Measures {
    accepted: Array,
    listener_drops: Array,
    accept_waits: Array,
    rtos: Array,
    queues_at_resets: Array,
    queues_at_failures: Array,
    resets_sent: Array,
    sockopts: HashMap<MapData, [u8; size_of::<Sockopt>()], u64>,
}

/// A per-CPU array of counts.
struct Array(PerCpuArray<MapData, u64>);

/// Measurements since the programs were loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Connections that programs accepted, in the order of [`Family::ALL`].
    pub(crate) accepted: Vec<u64>,
    /// Handshake packets dropped by listeners: those without a full accept queue, in the order of
    /// [`Family::ALL`], then those with one.
    pub(crate) listener_drops: Vec<u64>,
    /// Time that accepted connections had waited since their handshake, in milliseconds.
    pub(crate) accept_waits: Buckets,
    /// Retransmission timeouts that expired, in milliseconds.
    pub(crate) rtos: Buckets,
    /// Fill level of the accept queue when a connection was accepted that had been reset, in
    /// percent.
    pub(crate) queues_at_resets: Buckets,
    /// Fill level of the accept queue when accept failed for lack of resources, in percent.
    pub(crate) queues_at_failures: Buckets,
    /// RSTs sent, by reason, with unknown reasons last: first the RSTs that sockets sent of their
    /// own accord, then the answers to segments, by the kind of socket that answered.
    pub(crate) resets_sent: Vec<u64>,
    /// Refused socket options.
    pub(crate) sockopts: BTreeMap<Sockopt, u64>,
}

/// A histogram as kept in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Number of values up to each bound and above the previous one; last, those above all bounds.
    pub(crate) counts: Vec<u64>,
    /// Sum of all values.
    pub(crate) sum: u64,
}

impl Measures {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// When the kernel programs are from another build.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self {
            accepted: Array(take(object, "ACCEPTED")?),
            listener_drops: Array(take(object, "DROPS")?),
            accept_waits: Array(take(object, "ACCEPT_WAITS")?),
            rtos: Array(take(object, "RTOS")?),
            queues_at_resets: Array(take(object, "QUEUES_AT_RESETS")?),
            queues_at_failures: Array(take(object, "QUEUES_AT_FAILURES")?),
            resets_sent: Array(take(object, "RESETS_SENT")?),
            sockopts: take(object, "SOCKOPTS")?,
        })
    }

    /// Reads the current numbers.
    ///
    /// # Errors
    /// When the kernel's maps cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Measured> {
        let sockopts = self.sockopts.iter().map(|entry| {
            let (key, count) = entry.context("cannot read the counts of socket options")?;
            Ok((Sockopt::from_bytes(key), count))
        });
        // Read before the accepted connections, which are then never fewer.
        let waits = self.accept_waits.buckets(ACCEPT_WAIT_MS.len())?;
        let accepted = self.accepted.read(Family::ALL.len())?;
        Ok(Measured {
            listener_drops: self.listener_drops.read(2 * Family::ALL.len())?,
            accept_waits: waits.with_the_rest_of(accepted.iter().sum()),
            accepted,
            rtos: self.rtos.buckets(RTO_MS.len())?,
            queues_at_resets: self.queues_at_resets.buckets(QUEUE_PERCENT.len())?,
            queues_at_failures: self.queues_at_failures.buckets(QUEUE_PERCENT.len())?,
            resets_sent: self.resets_sent.read((RST_REASONS + 1) * (RST_ANSWERERS + 1))?,
            sockopts: sockopts.collect::<anyhow::Result<_>>()?,
        })
    }
}

impl Buckets {
    /// Adds to the first bucket the values that were too small to be counted: the rest of `all`.
    fn with_the_rest_of(mut self, all: u64) -> Self {
        let counted: u64 = self.counts.iter().sum();
        if let Some(first) = self.counts.first_mut() {
            *first += all.saturating_sub(counted);
        }
        self
    }
}

impl Array {
    /// Reads `length` numbers, each summed over all CPUs.
    fn read(&self, length: usize) -> anyhow::Result<Vec<u64>> {
        (0..length)
            .map(|index| {
                let index = u32::try_from(index).context("an array of counts is too long")?;
                let values = self.0.get(&index, 0).context("cannot read counts")?;
                Ok(values.iter().sum())
            })
            .collect()
    }

    fn buckets(&self, bounds: usize) -> anyhow::Result<Buckets> {
        let mut counts = self.read(slots(bounds))?;
        let sum = counts.split_off(sum_slot(bounds)).into_iter().sum();
        Ok(Buckets { counts, sum })
    }
}
