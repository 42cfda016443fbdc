//! Attribution of sockets to services: systemd unit, container and Kubernetes pod. They are derived
//! from the cgroup, with names from the container runtimes' files on this host.
//!
//! No daemon is queried. Whoever is delegated a subtree of cgroups (a user, a container, a service
//! with `Delegate=`) can choose any name there, so names in it are marked as claimed.

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

/// Reads the layout of this host's cgroups.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn cgroup_layout() -> std::io::Result<mounts::Layout> {
    mounts::Layout::read()
}
