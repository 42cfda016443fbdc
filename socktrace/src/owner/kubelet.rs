//! Names of pods and their containers from the kubelet's logs, whatever the runtime.

use super::{host_files::HostFiles, kubernetes::PodNames};

/// Links to the logs of containers, and directories of the logs of pods.
const CONTAINERS: &str = "/var/log/containers";
const PODS: &str = "/var/log/pods";

/// The directories that are read.
pub(super) const fn directories() -> [&'static str; 2] {
    [CONTAINERS, PODS]
}

/// From the links to the logs of containers.
pub(super) fn by_container(files: &HostFiles, id: &str) -> Option<PodNames> {
    files.find(CONTAINERS, |link| PodNames::from_log_link(link, id))
}

/// From the directories of the logs of pods.
pub(super) fn by_pod(files: &HostFiles, uid: &str) -> Option<PodNames> {
    files.find(PODS, |directory| PodNames::from_log_directory(directory, uid))
}
