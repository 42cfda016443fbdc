//! Finds types by name: the kernel has tens of thousands, and dozens are asked for.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Types of some kinds. Hashes of names can be equal where names are not.
#[derive(Default)]
pub(super) struct Names(Vec<(u64, u32)>);

impl Names {
    /// Adds a type. To be sorted before it is found.
    pub(super) fn add(&mut self, name: &[u8], id: u32) {
        self.0.push((hash(name), id));
    }

    /// Makes the types that were added known.
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// Ids of all types of this name, lowest first, and seldom of another type among them.
    pub(super) fn candidates(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let wanted = hash(name.as_bytes());
        let first = self.0.partition_point(|(hash, _)| *hash < wanted);
        self.0[first..].iter().take_while(move |(hash, _)| *hash == wanted).map(|(_, id)| *id)
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
