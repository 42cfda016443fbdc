//! Exact counts of failures by owner.

use std::{collections::BTreeMap, io::ErrorKind};

use anyhow::Context as _;
use aya::maps::{HashMap, MapData, MapError};
use socktrace_ebpf::{Owned, Signature};

use super::{maps::take, object::Object};

/// Extent of the counts of failures by owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Maximum number of pairs of owner and signature.
    pub(crate) entries: u32,
    /// Whether the service's port is distinguished, too.
    pub(crate) ports: bool,
}

/// Maps of the counts by owner.
pub(crate) struct OwnedTallies {
    owned: HashMap<MapData, [u8; size_of::<Owned>()], u64>,
    others: HashMap<MapData, [u8; size_of::<Signature>()], u64>,
}

impl OwnedTallies {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// When the kernel programs are from another build.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self { owned: take(object, "OWNED")?, others: take(object, "OTHERS")? })
    }

    /// Number of failures of each owner in the map.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub(crate) fn owned(&self) -> anyhow::Result<BTreeMap<Owned, u64>> {
        // Collected by owner: walking a hash map while it grows may visit an entry twice.
        self.owned
            .iter()
            .map(|entry| {
                let (key, count) = entry.context("cannot read the counts by owner")?;
                Ok((Owned::from_bytes(key), count))
            })
            .collect()
    }

    /// Number of failures of owners that had no room in the map, by signature.
    ///
    /// # Errors
    /// As [`Self::owned`].
    pub(crate) fn others(&self) -> anyhow::Result<BTreeMap<Signature, u64>> {
        self.others
            .iter()
            .map(|entry| {
                let (key, count) = entry.context("cannot read the counts of other owners")?;
                Ok((Signature::from_bytes(key), count))
            })
            .collect()
    }

    /// Removes an owner to make room: only one that has gone, and whose count has been read.
    /// Returns whether it is no longer in the map.
    pub(crate) fn forget(&mut self, owned: &Owned) -> bool {
        match self.owned.remove(&owned.to_bytes()) {
            Ok(()) => true,
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => {
                true
            }
            Err(error) => {
                log::debug!(
                    "cannot remove an owner that has gone from the counts, where it still takes room: {error}"
                );
                false
            }
        }
    }
}
