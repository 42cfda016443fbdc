//! Names of Podman's containers, those of root. A user's own are in his home, which is his word and
//! may lie on a file server that does not answer.

use serde::Deserialize;

use super::{host_files::HostFiles, names::Names, plain, service::Runtime};

/// Where containers/storage lists containers, and those made with `--rm`; with its transient store
/// the latter are below `/run`.
const LISTS: [(&str, &str); 3] = [
    ("/var/lib/containers/storage/overlay-containers", "containers.json"),
    ("/var/lib/containers/storage/overlay-containers", "volatile-containers.json"),
    ("/run/containers/storage/overlay-containers", "volatile-containers.json"),
];

/// The directories that are read.
pub(super) fn directories() -> impl Iterator<Item = &'static str> {
    LISTS.into_iter().map(|(directory, _)| directory)
}

/// The fields read from one container in a list.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// Podman's name of a container.
pub(super) fn names(files: &HostFiles, id: &str) -> Option<Names> {
    let name = LISTS.iter().find_map(|(directory, list)| {
        let all: Vec<Listed> = files.json(directory, list)?;
        all.into_iter().find(|listed| listed.id == id)?.names.into_iter().next()
    })?;
    let container = Some(plain::name(&name)?.to_owned());
    Some(Names { runtime: Some(Runtime::Podman), container, pod: None })
}
