//! Names of pods and their containers from the kubelet's logs, for every runtime.

use super::{host_files::HostFiles, kubernetes::PodNames};

/// Directories with links to containers' logs, and with pods' log directories.
const CONTAINERS: &str = "/var/log/containers";
const PODS: &str = "/var/log/pods";

/// Directories to read.
pub(super) const fn directories() -> [&'static str; 2] {
    [CONTAINERS, PODS]
}

/// Names by container id, from the links to containers' logs.
pub(super) fn by_container(files: &HostFiles, id: &str) -> Option<PodNames> {
    files.find(CONTAINERS, |link| PodNames::from_log_link(link, id))
}

/// Names by pod UID, from the pods' log directories.
pub(super) fn by_pod(files: &HostFiles, uid: &str) -> Option<PodNames> {
    files.find(PODS, |directory| PodNames::from_log_directory(directory, uid))
}
