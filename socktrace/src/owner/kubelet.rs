//! Names of pods and their containers from the kubelet's logs, whatever the runtime.

use super::{host_files::HostFiles, kubernetes::PodNames};

/// From the links to the logs of containers.
pub(super) fn by_container(files: &HostFiles, id: &str) -> Option<PodNames> {
    files.find("/var/log/containers", |link| PodNames::from_log_link(link, id))
}

/// From the directories of the logs of pods.
pub(super) fn by_pod(files: &HostFiles, uid: &str) -> Option<PodNames> {
    files.find("/var/log/pods", |directory| PodNames::from_log_directory(directory, uid))
}
