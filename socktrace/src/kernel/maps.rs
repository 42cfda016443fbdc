//! The maps of the loaded object, by name.

use anyhow::Context as _;
use aya::maps::{Map, MapError};

use super::object::Object;

/// Takes a map out of the loaded object; the caller then owns it.
///
/// # Errors
/// When the kernel programs are from another build, with no such map or one of another type.
pub(super) fn take<T>(Object(ebpf): &mut Object, name: &str) -> anyhow::Result<T>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map =
        ebpf.take_map(name).with_context(|| format!("the kernel programs have no map {name}"))?;
    T::try_from(map).with_context(|| format!("the map {name} has another type"))
}
