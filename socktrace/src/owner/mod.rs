//! Which service a socket belongs to: its systemd unit, container and Kubernetes pod, found from
//! the cgroup, with the names that the container runtimes' own files on this host give.
//!
//! No daemon is asked. Whoever is handed a subtree of cgroups (a user, a container, a service with
//! `Delegate=`) can give cgroups there any name, so what is named there is taken for its word only.

mod cgroup_id;
mod cgroup_path;
mod cgroup_walk;
mod container;
mod cri;
mod docker;
#[cfg(test)]
mod fuzz;
mod host_files;
mod kubelet;
mod kubernetes;
mod mounts;
mod name_lookups;
mod names;
mod owners;
mod plain;
mod podman;
mod process;
mod service;
mod systemd;

#[cfg(test)]
pub(crate) use service::{Qos, Runtime};
pub(crate) use {
    names::directories as name_directories,
    owners::Owners,
    plain::is_deceptive,
    process::Sighting,
    service::{Container, Pod, Service, Unknown},
};

/// How this host's cgroups are laid out.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn cgroup_layout() -> std::io::Result<mounts::Layout> {
    mounts::Layout::read()
}
