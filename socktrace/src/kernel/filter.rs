//! Filters in the kernel: their criteria, and the verdicts that the daemon adds.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, LpmTrie, MapData, lpm_trie::Key},
};
use socktrace_ebpf::{
    Criterion, TALLY_ENTRIES,
    criteria::{Network, UNWANTED, VERDICT_ENTRIES, WANTED, mode},
};

use super::{maps::take, object::Object};

/// Minimum number of entries of a map.
const UNUSED_ENTRIES: u32 = 1;

const CRITERION_BYTES: usize = size_of::<Criterion>();

/// Scope of the filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Whether events are wanted, by the stream or another sink.
    pub(crate) events: bool,
    /// Whether only events that pass are counted.
    pub(crate) counts: bool,
}

/// Criteria evaluated in the kernel. All of them are fixed before programs are attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelFilter {
    scope: Scope,
    learns_signatures: bool,
    modes: BTreeMap<&'static str, u32>,
    criteria: BTreeMap<[u8; CRITERION_BYTES], u32>,
    networks: BTreeMap<(u32, [u8; 20]), u32>,
}

impl KernelFilter {
    /// A filter without criteria.
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// Whether events must be read from the ring buffer: to be shown, or to be judged and counted.
    pub(crate) fn needs_events(&self) -> bool {
        self.scope.events || (self.scope.counts && self.asks("FILTER_SERVICE"))
    }

    /// Sets the [`mode`] of a kind, by its global: what happens to values without a verdict.
    pub(crate) fn ask(&mut self, global: &'static str, mode: u32) {
        // Nothing is filtered if neither events nor counts are.
        let mode = if self.scope == Scope::default() { mode::ANY } else { mode };
        self.modes.insert(global, mode);
    }

    /// Restricts events to followed processes, if any are.
    pub(crate) fn following(mut self, follows: bool) -> Self {
        if follows {
            self.ask("FILTER_FOLLOWED", mode::ONLY);
        }
        self
    }

    /// Whether a kind is filtered.
    pub(crate) fn asks(&self, global: &'static str) -> bool {
        self.modes.get(global).is_some_and(|mode| *mode != mode::ANY)
    }

    /// Sets the verdict on a value, replacing an earlier one.
    pub(crate) fn judge(&mut self, criterion: Criterion, verdict: u32) {
        self.criteria.insert(criterion.to_bytes(), verdict);
    }

    /// Sets the verdict on a network with this prefix length.
    pub(crate) fn judge_network(&mut self, bits: u32, Network(data): Network, verdict: u32) {
        self.networks.insert((bits, data), verdict);
    }

    /// Makes the kernel drop signatures that the daemon judged unwanted.
    pub(crate) fn learn_signatures(&mut self) {
        self.learns_signatures = true;
    }

    /// Globals to set before the programs are verified.
    pub(super) fn globals(&self) -> Vec<(&'static str, u32)> {
        let asks = self.modes.values().any(|mode| *mode != mode::ANY);
        let own = [
            ("STREAM", u32::from(self.scope.events)),
            ("FILTER", u32::from(asks)),
            ("FILTER_SIGNATURE", u32::from(self.learns_signatures)),
            ("FILTER_COUNTS", u32::from(self.scope.counts)),
        ];
        let modes = self.modes.iter().map(|(global, mode)| (*global, *mode));
        own.into_iter().chain(modes).collect()
    }

    /// Sizes the maps to fit their entries.
    pub(super) fn size_maps(&self, loader: &mut EbpfLoader<'_>) {
        let entries = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(UNUSED_ENTRIES);
        loader.map_max_entries("CRITERIA", entries(self.criteria.len()));
        loader.map_max_entries("NETWORKS", entries(self.networks.len()));
        let learnt = if self.asks("FILTER_SERVICE") {
            VERDICT_ENTRIES
        } else if self.learns_signatures {
            TALLY_ENTRIES
        } else {
            0
        };
        loader.map_max_entries("VERDICTS", entries(learnt));
    }

    /// Fills the maps with the criteria, before programs are attached.
    pub(super) fn fill(&self, ebpf: &mut Ebpf) -> anyhow::Result<()> {
        let criteria =
            ebpf.map_mut("CRITERIA").context("the kernel programs have no map CRITERIA")?;
        let mut criteria: HashMap<_, [u8; CRITERION_BYTES], u32> =
            HashMap::try_from(criteria).context("the map CRITERIA has another type")?;
        for (criterion, verdict) in &self.criteria {
            criteria.insert(criterion, verdict, 0).context("cannot set a filter")?;
        }
        let networks =
            ebpf.map_mut("NETWORKS").context("the kernel programs have no map NETWORKS")?;
        let mut networks: LpmTrie<_, [u8; 20], u32> =
            LpmTrie::try_from(networks).context("the map NETWORKS has another type")?;
        for ((bits, data), verdict) in &self.networks {
            networks.insert(&Key::new(*bits, *data), verdict, 0).context("cannot set a filter")?;
        }
        Ok(())
    }
}

/// Verdicts cached in the kernel, which evicts old ones itself.
pub(crate) struct Verdicts {
    map: HashMap<MapData, [u8; CRITERION_BYTES], u32>,
}

impl Verdicts {
    /// Takes the map out of the loaded object.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self { map: take(object, "VERDICTS")? })
    }

    /// Sets whether the kernel passes or drops events of this kind from now on.
    pub(crate) fn set(&mut self, criterion: Criterion, wanted: bool) {
        let verdict = if wanted { WANTED } else { UNWANTED };
        if let Err(error) = self.map.insert(criterion.to_bytes(), verdict, 0) {
            // Events of this kind keep coming up, and are judged here.
            log::debug!("cannot update the kernel's filter: {error}");
        }
    }

    /// Removes the verdict on a kind.
    pub(crate) fn remove(&mut self, criterion: Criterion) {
        // The kernel may have evicted it already.
        if let Err(error) = self.map.remove(&criterion.to_bytes()) {
            log::debug!("cannot remove an entry from the kernel's filter: {error}");
        }
    }
}
