//! Names of Kubernetes containers run by containerd and CRI-O, from the annotations in their OCI
//! configurations.

use serde::Deserialize;

use super::{host_files::HostFiles, kubernetes::PodNames, names::Names, service::Runtime};

/// Directories of containerd's Kubernetes containers: the default, and those of distributions that
/// bundle containerd.
const CONTAINERD: [&str; 4] = [
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/k0s/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
];

/// Directory of CRI-O's containers.
const CRIO: &str = "/run/containers/storage/overlay-containers";

/// Directories to read.
pub(super) fn directories() -> impl Iterator<Item = &'static str> {
    CONTAINERD.into_iter().chain([CRIO])
}

/// Fields read from an OCI configuration.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    annotations: Annotations,
}

/// containerd's own annotations, and the kubelet's labels, which CRI-O stores.
#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-name")]
    containerd_container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    containerd_pod: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    containerd_namespace: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
}

/// Names of a containerd container in Kubernetes, and of its pod.
pub(super) fn containerd(files: &HostFiles, id: &str) -> Option<Names> {
    let file = format!("{id}/config.json");
    let config: Config = CONTAINERD.iter().find_map(|tasks| files.json(tasks, &file))?;
    let found = config.annotations;
    let container = found.containerd_container.as_deref();
    let pod = PodNames::new(&found.containerd_namespace?, &found.containerd_pod?, container)?;
    Some(Names { runtime: Some(Runtime::Containerd), ..Names::of_pod(pod) })
}

/// Names of a CRI-O container in Kubernetes, and of its pod.
pub(super) fn crio(files: &HostFiles, id: &str) -> Option<Names> {
    let config: Config = files.json(CRIO, &format!("{id}/userdata/config.json"))?;
    let found = config.annotations;
    let pod = PodNames::new(&found.namespace?, &found.pod?, found.container.as_deref())?;
    Some(Names { runtime: Some(Runtime::CriO), ..Names::of_pod(pod) })
}
