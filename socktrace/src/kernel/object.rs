//! The loaded kernel programs and their maps.

use aya::Ebpf;

/// The loaded object. Maps are taken out of it by the types of this room, so that no other room
/// needs to know the library that loads it.
pub(crate) struct Object(pub(super) Ebpf);
