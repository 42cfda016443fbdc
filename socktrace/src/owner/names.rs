//! Names of containers and pods, from files of their runtime and the kubelet on this host.

use std::path::PathBuf;

use super::{
    container, cri, docker,
    host_files::HostFiles,
    kubelet,
    kubernetes::PodNames,
    podman,
    service::{Container, Runtime, Service},
};

/// Names found for a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) runtime: Option<Runtime>,
    pub(super) container: Option<String>,
    pub(super) pod: Option<PodNames>,
}

impl Names {
    /// Names of a pod and its container.
    pub(super) fn of_pod(pod: PodNames) -> Self {
        Self { runtime: None, container: pod.container.clone(), pod: Some(pod) }
    }
}

/// Directories of this host in which names are looked up.
pub(crate) fn directories() -> Vec<PathBuf> {
    let docker = [docker::CONFIGURATION.to_owned(), docker::containers(&HostFiles::new())];
    let others = cri::directories().chain(podman::directories()).chain(kubelet::directories());
    docker.into_iter().chain(others.map(str::to_owned)).map(PathBuf::from).collect()
}

/// Look-up of names in files.
pub(super) struct NameFiles {
    files: HostFiles,
    docker: String,
}

impl NameFiles {
    pub(super) fn new(files: HostFiles) -> Self {
        Self { docker: docker::containers(&files), files }
    }

    /// Adds the names that this host's runtime and kubelet have for a service. Claimed containers
    /// and pods are not looked up: they would get the names of someone else's container.
    pub(super) fn add_to(&self, service: &mut Service) {
        let containers = [&mut service.container, &mut service.outer_container];
        let mut container = containers.into_iter().flatten().find(|container| !container.claimed);
        let mut names =
            container.as_ref().and_then(|found| self.of_container(found)).unwrap_or_default();
        let mut pod = service.pod.as_mut().filter(|pod| !pod.claimed);
        if let Some(pod) = &mut pod {
            if names.pod.is_none() {
                names.pod = container
                    .as_ref()
                    .and_then(|found| kubelet::by_container(&self.files, &found.id))
                    .or_else(|| kubelet::by_pod(&self.files, &pod.uid));
            }
            if let Some(found) = names.pod {
                names.container = names.container.or(found.container);
                (pod.namespace, pod.name) = (Some(found.namespace), Some(found.pod));
            }
        }
        if let Some(container) = &mut container {
            container.runtime = container.runtime.or(names.runtime);
            if names.container.is_some() {
                container.name = names.container;
            }
        }
    }

    /// The container's name in its runtime. If the path does not reveal the runtime, each one is
    /// tried.
    fn of_container(&self, wanted: &Container) -> Option<Names> {
        let id = &wanted.id;
        // The id becomes part of file paths.
        if !container::is_id(id) {
            return None;
        }
        let files = &self.files;
        let docker = || docker::names(files, &self.docker, id);
        match wanted.runtime {
            Some(Runtime::Docker) => docker(),
            Some(Runtime::Containerd) => cri::containerd(files, id),
            Some(Runtime::CriO) => cri::crio(files, id),
            Some(Runtime::Podman) => podman::names(files, id),
            Some(Runtime::Lxc | Runtime::Nspawn) => None,
            None => cri::containerd(files, id).or_else(docker).or_else(|| cri::crio(files, id)),
        }
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
