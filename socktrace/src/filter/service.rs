//! What is asked of the service behind a socket.

use std::str::FromStr;

use crate::owner::{Container, Service};

/// What `systemctl` adds to a name without a type.
const DEFAULT_SUFFIX: &str = ".service";
const SUFFIXES: [&str; 5] = [DEFAULT_SUFFIX, ".scope", SLICE, ".socket", ".mount"];
const SLICE: &str = ".slice";

/// The fewest digits of a container's id that stand for it.
const FEWEST_DIGITS: usize = 12;

/// A systemd unit, of the system's manager or a user's; a slice stands for all in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit(String);

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(['/', ' ']) {
            return Err("expected a unit as systemctl names it, such as nginx.service, nginx, \
                        session-3.scope or system.slice, or !UNIT for all others"
                .to_owned());
        }
        let has_type = SUFFIXES.iter().any(|suffix| text.ends_with(suffix));
        Ok(Self(if has_type { text.to_owned() } else { format!("{text}{DEFAULT_SUFFIX}") }))
    }
}

impl Unit {
    pub(super) fn is_of(&self, service: &Service) -> bool {
        let is_named = |unit: &Option<String>| unit.as_ref() == Some(&self.0);
        is_named(&service.unit)
            || is_named(&service.user_unit)
            || (self.0.ends_with(SLICE) && slices(service).any(|slice| slice == self.0))
    }
}

/// The slices that the system's manager has put a service in. It hands them to nobody, so that what
/// has such a name further down is something else.
fn slices(service: &Service) -> impl Iterator<Item = &str> {
    let components = service.cgroup.as_deref().unwrap_or_default().split('/').skip(1);
    components.take_while(|component| component.ends_with(SLICE))
}

/// A container by its name or id, or by pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerName(String);

impl FromStr for ContainerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.split('/').any(str::is_empty) {
            return Err(format!(
                "expected the name of a container, its id or {FEWEST_DIGITS} digits of that or \
                 more, NAMESPACE/POD or NAMESPACE/POD/CONTAINER, or one of these with ! before it"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl ContainerName {
    /// Whether it is the container of this service, or one around that.
    ///
    /// Who is handed cgroups may give them any name. One that is only claimed can bring a service
    /// into the stream, but not keep it out: `may_be_claimed` says which is asked.
    pub(super) fn is_of(&self, service: &Service, may_be_claimed: bool) -> bool {
        let containers = [&service.container, &service.outer_container];
        let believed =
            containers.into_iter().flatten().filter(|one| may_be_claimed || !one.claimed);
        let pod = service.pod.as_ref().filter(|pod| may_be_claimed || !pod.claimed);
        let pod =
            pod.and_then(|pod| Some(format!("{}/{}", pod.namespace.as_ref()?, pod.name.as_ref()?)));
        pod.as_ref() == Some(&self.0)
            || believed.into_iter().any(|container| {
                let inside = pod.as_ref().zip(container.name.as_ref());
                self.names(container)
                    || inside.is_some_and(|(pod, name)| self.0 == format!("{pod}/{name}"))
            })
    }

    fn names(&self, container: &Container) -> bool {
        container.name.as_ref() == Some(&self.0)
            || container.id == self.0
            || (self.is_short_id() && container.id.starts_with(&self.0))
    }

    fn is_short_id(&self) -> bool {
        self.0.len() >= FEWEST_DIGITS && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// A cgroup by its path from the root; all below it belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPath(String);

impl FromStr for CgroupPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MOUNT: &str = "/sys/fs/cgroup";
        let path = match text.strip_prefix(MOUNT) {
            Some("") => "/",
            Some(below) if below.starts_with('/') => below,
            _ => text,
        };
        if !path.starts_with('/') {
            return Err("expected the path of a cgroup from the root, such as \
                        /system.slice/nginx.service, or !PATH for all others"
                .to_owned());
        }
        Ok(Self(path.trim_end_matches('/').to_owned()))
    }
}

impl CgroupPath {
    pub(super) fn is_of(&self, service: &Service) -> bool {
        let Some(path) = service.cgroup.as_deref() else { return false };
        path.strip_prefix(self.0.as_str())
            .is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'/')))
    }
}
