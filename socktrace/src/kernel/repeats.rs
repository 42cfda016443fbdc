//! Recent kinds of events, and how many of each were counted instead of streamed.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::maps::{HashMap, MapData};
use socktrace_ebpf::{Owned, Repeats, repeats::WORDS};

use super::{maps::take, object::Object};

/// Limit beyond which events are counted instead of streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Events of one kind within a window.
    pub(crate) events: u32,
    /// See [`Kind::by_cgroup`].
    pub(crate) by_cgroup: bool,
}

/// Common properties of events that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// Owner and failure: see [`socktrace_ebpf::repeats`].
    pub(crate) owned: Owned,
    /// Whether cgroups are distinguished. If not, processes are, by their ids in place of the
    /// cgroup's.
    pub(crate) by_cgroup: bool,
    /// Whether ports are merged, for lack of room.
    pub(crate) of_any_port: bool,
}

/// The kernel's maps of kinds.
pub(crate) struct RepeatMaps {
    by_port: Map,
    of_any_port: Map,
    by_cgroup: bool,
}

type Map = HashMap<MapData, [u8; size_of::<Owned>()], [u64; WORDS]>;

impl RepeatMaps {
    /// Takes the maps out of the object, which was loaded with this [`Limit`].
    ///
    /// # Errors
    /// When the kernel programs are from another build.
    pub(crate) fn new(object: &mut Object, limit: Limit) -> anyhow::Result<Self> {
        Ok(Self {
            by_port: take(object, "REPEATS")?,
            of_any_port: take(object, "REPEATS_OF_ANY_PORT")?,
            by_cgroup: limit.by_cgroup,
        })
    }

    /// Every kind in the maps.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<BTreeMap<Kind, Repeats>> {
        [(&self.by_port, false), (&self.of_any_port, true)]
            .into_iter()
            .flat_map(|(map, of_any_port)| map.iter().map(move |entry| (entry, of_any_port)))
            .map(|(entry, of_any_port)| {
                let (key, words) = entry.context("cannot read the counts of floods")?;
                let owned = Owned::from_bytes(key);
                let kind = Kind { owned, by_cgroup: self.by_cgroup, of_any_port };
                Ok((kind, Repeats::from_words(words)))
            })
            .collect()
    }

    /// Removes a kind to make room.
    ///
    /// # Errors
    /// When the kind cannot be removed.
    pub(crate) fn forget(&mut self, kind: &Kind) -> anyhow::Result<()> {
        let map = if kind.of_any_port { &mut self.of_any_port } else { &mut self.by_port };
        map.remove(&kind.owned.to_bytes())
            .context("cannot remove a kind of event from the kernel's table of floods")
    }
}
