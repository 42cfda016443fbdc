//! The loaded kernel programs and their maps.

use aya::Ebpf;

/// The loaded object. The types of this module take the maps out of it, so that no other module
/// depends on the library that loads it.
pub(crate) struct Object(pub(super) Ebpf);
