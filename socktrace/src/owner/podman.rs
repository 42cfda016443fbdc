//! Names of root's Podman containers. Rootless containers are listed in their user's home, which
//! that user controls and which may be on an unresponsive file server.

use serde::Deserialize;

use super::{host_files::HostFiles, names::Names, plain, service::Runtime};

/// Lists of containers in containers/storage: permanent ones, and those created with `--rm`, which
/// are below `/run` with the transient store.
const LISTS: [(&str, &str); 3] = [
    ("/var/lib/containers/storage/overlay-containers", "containers.json"),
    ("/var/lib/containers/storage/overlay-containers", "volatile-containers.json"),
    ("/run/containers/storage/overlay-containers", "volatile-containers.json"),
];

/// Directories to read.
pub(super) fn directories() -> impl Iterator<Item = &'static str> {
    LISTS.into_iter().map(|(directory, _)| directory)
}

/// Fields read for each container in a list.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// Podman's name for a container.
pub(super) fn names(files: &HostFiles, id: &str) -> Option<Names> {
    let name = LISTS.iter().find_map(|(directory, list)| {
        let all: Vec<Listed> = files.json(directory, list)?;
        all.into_iter().find(|listed| listed.id == id)?.names.into_iter().next()
    })?;
    let container = Some(plain::name(&name)?.to_owned());
    Some(Names { runtime: Some(Runtime::Podman), container, pod: None })
}
