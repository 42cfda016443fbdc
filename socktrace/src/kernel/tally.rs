//! Exact counts kept in the kernel, read on demand.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray, PerCpuHashMap};
use socktrace_ebpf::{Counter, Signature};

use super::{maps::take, object::Object};

/// Maps of the counts.
pub(crate) struct Tallies {
    signatures: PerCpuHashMap<MapData, [u8; size_of::<Signature>()], u64>,
    counters: PerCpuArray<MapData, u64>,
}

impl Tallies {
    /// Takes the maps out of the loaded object.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self { signatures: take(object, "TALLIES")?, counters: take(object, "COUNTERS")? })
    }

    /// Number of occurrences of each signature since the programs were loaded.
    pub(crate) fn signatures(&self) -> anyhow::Result<BTreeMap<Signature, u64>> {
        // Collected by signature: entries are only ever added, but walking a hash map while it
        // grows may visit one twice.
        self.signatures
            .iter()
            .map(|entry| {
                let (key, values) = entry.context("cannot read the tallies")?;
                Ok((Signature::from_bytes(key), values.iter().sum()))
            })
            .collect()
    }

    /// One of the kernel programs' own counters.
    pub(crate) fn counter(&self, counter: Counter) -> anyhow::Result<u64> {
        let values = self.counters.get(&(counter as u32), 0).context("cannot read the counters")?;
        Ok(values.iter().sum())
    }
}
