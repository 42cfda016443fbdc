//! Names of Docker containers.

use serde::Deserialize;

use super::{host_files::HostFiles, kubernetes::PodNames, names::Names, plain, service::Runtime};

/// Docker's default `data-root`.
const DATA_ROOT: &str = "/var/lib/docker";

/// Directory of Docker's configuration.
pub(super) const CONFIGURATION: &str = "/etc/docker";

/// Fields read from `/etc/docker/daemon.json`.
#[derive(Deserialize)]
struct DaemonConfig {
    #[serde(rename = "data-root")]
    data_root: Option<String>,
}

/// Fields read from a container's `config.v2.json`.
#[derive(Deserialize)]
struct ContainerConfig {
    /// The name, with a leading slash.
    #[serde(rename = "Name")]
    name: String,
}

/// Directory of Docker's containers on this host.
pub(super) fn containers(files: &HostFiles) -> String {
    let config: Option<DaemonConfig> = files.json(CONFIGURATION, "daemon.json");
    let root = config.and_then(|config| config.data_root);
    format!("{}/containers", root.as_deref().unwrap_or(DATA_ROOT))
}

/// Docker's name for a container.
pub(super) fn names(files: &HostFiles, containers: &str, id: &str) -> Option<Names> {
    let config: ContainerConfig = files.json(containers, &format!("{id}/config.v2.json"))?;
    let name = config.name.strip_prefix('/').unwrap_or(&config.name);
    let runtime = Some(Runtime::Docker);
    Some(match PodNames::from_container_name(name) {
        Some(pod) => Names { runtime, ..Names::of_pod(pod) },
        None => Names { runtime, container: Some(plain::name(name)?.into()), pod: None },
    })
}
