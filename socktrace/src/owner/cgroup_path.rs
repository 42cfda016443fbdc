//! What a cgroup's path says about the service in it.
//!
//! Whoever runs the host decides about a path up to its first service, scope or container: these
//! may be handed to a user (`user@1000.service`), or to what runs in a container, who may create
//! any name below. systemd hands no slices to anybody. So what follows is marked as claimed.

use super::{
    container::container,
    kubernetes::pod,
    plain,
    service::{Container, Pod, Service},
    systemd,
};

/// Services that keep their containers' cgroups to themselves, in case the runtime uses the cgroupfs
/// driver and is given a parent that is meant for systemd's.
const RUNTIMES: [&str; 3] = ["containerd.service", "crio.service", "docker.service"];

/// How much of a path is kept. A container in a pod in a Kubernetes node that is itself a
/// container (kind) has some 350 bytes.
const PATH_LIMIT: usize = 512;

impl Service {
    /// Reads the path of a cgroup, from the root of its hierarchy, v1 or v2.
    ///
    /// Of containers in containers the innermost counts, and the outermost is kept too. From within
    /// a cgroup namespace paths begin with `..` for each directory that is not visible.
    pub(crate) fn from_cgroup_path(path: &str) -> Self {
        let mut service =
            Self { cgroup: Some(plain::printable(path, PATH_LIMIT)), ..Self::default() };
        // Whether the path so far is as this host's own managers made it.
        let mut hosts = true;
        // systemd looks for a unit only behind slices.
        let mut units = true;
        let mut slice = None;
        let mut parent = "";
        for component in path.split('/').filter(|part| !matches!(*part, "" | "." | "..")) {
            // The host's own pod counts, whatever a container in it claims.
            if let Some(found) = pod(component, parent)
                && service.pod.as_ref().is_none_or(|known| known.claimed)
            {
                service.pod = Some(Pod { claimed: !hosts, ..found });
            }
            let mut handed_on = false;
            match systemd::unit(component) {
                Some(name) if systemd::is_slice(name) => {
                    if units && service.unit.is_none() {
                        slice = Some(name);
                        service.user = service.user.or_else(|| systemd::user_slice(name));
                    }
                }
                Some(name) => {
                    units = units && service.name_unit(name);
                    handed_on = !RUNTIMES.contains(&name);
                }
                None => units = false,
            }
            if let Some(found) = container(component, parent) {
                service.enter(Container { claimed: !hosts, ..found });
                (handed_on, units) = (true, false);
            }
            hosts = hosts && !handed_on;
            parent = component;
        }
        if service.unit.is_none() && service.container.is_none() {
            service.unit = slice.map(Into::into);
        }
        service
    }

    /// Notes a unit that is no slice; whether one of the user's can follow.
    fn name_unit(&mut self, name: &str) -> bool {
        if self.unit.is_some() {
            self.user_unit = Some(name.into());
            return false;
        }
        self.unit = Some(name.into());
        let manager = systemd::user_manager(name);
        self.user = manager.or(self.user);
        manager.is_some()
    }

    fn enter(&mut self, container: Container) {
        if let Some(outer) = self.container.replace(container) {
            self.outer_container.get_or_insert(outer);
        }
    }
}

#[cfg(test)]
#[path = "cgroup_path_tests.rs"]
mod tests;
