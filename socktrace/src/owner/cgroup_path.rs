//! Service, container and pod, as encoded in a cgroup's path.
//!
//! The host's administrator controls a path up to its first service, scope or container. These may
//! be delegated to a user (`user@1000.service`) or to programs in a container, who may create any
//! name below them. systemd never delegates slices. All components after a delegation are therefore
//! marked as claimed.

use super::{
    container::container,
    kubernetes::pod,
    plain,
    service::{Container, Pod, Service},
    systemd,
};

/// Services that do not hand their cgroups on. The containers' cgroups are below them if the
/// runtime uses the cgroupfs driver with a parent meant for the systemd driver.
const RUNTIMES: [&str; 3] = ["containerd.service", "crio.service", "docker.service"];

/// Maximum length of a stored path. A container in a pod of a Kubernetes node that is itself a
/// container (kind) has some 350 bytes.
const PATH_LIMIT: usize = 512;

impl Service {
    /// Parses the path of a cgroup, from the root of its hierarchy, v1 or v2.
    ///
    /// Of nested containers, the innermost counts; the outermost is stored too. Within a cgroup
    /// namespace, paths begin with one `..` for each invisible directory.
    pub(crate) fn from_cgroup_path(path: &str) -> Self {
        let mut service =
            Self { cgroup: Some(plain::printable(path, PATH_LIMIT)), ..Self::default() };
        // Whether all components up to here were created by the host's own managers.
        let mut hosts = true;
        // systemd recognizes units only directly below slices.
        let mut units = true;
        let mut slice = None;
        let mut parent = "";
        for component in path.split('/').filter(|part| !matches!(*part, "" | "." | "..")) {
            // The host's own pod takes precedence over any claimed in its containers.
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

    /// Stores a unit that is not a slice; returns whether a user's unit may follow.
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
