//! Filters by the service behind a socket.

use std::{iter, str::FromStr};

use super::pattern::Pattern;
use crate::owner::{Container, Service};

/// Suffix that `systemctl` adds to a name without a type.
const DEFAULT_SUFFIX: &str = ".service";
const SUFFIXES: [&str; 5] = [DEFAULT_SUFFIX, ".scope", SLICE, ".socket", ".mount"];
const SLICE: &str = ".slice";

/// Minimum number of digits in a shortened container id.
const FEWEST_DIGITS: usize = 12;

/// A systemd unit of the system or user manager, or a pattern. A slice matches all units in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pattern: Pattern,
    /// Whether it names slices.
    is_slice: bool,
    /// Whether the pattern may also match names without their `.service` suffix.
    is_short: bool,
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "expected a unit as systemctl names it, such as nginx.service, nginx, \
                             session-3.scope or system.slice, optionally with wildcards * ? [..], or !UNIT \
                             for all others";
        if text.is_empty() || text.contains(['/', ' ']) {
            return Err(FORMS.to_owned());
        }
        let read = |text: &str| Pattern::new(text).map_err(|problem| format!("{FORMS}; {problem}"));
        let has_type = SUFFIXES.iter().any(|suffix| text.ends_with(suffix));
        let pattern = read(text)?;
        let is_short = !has_type && pattern.exact().is_none();
        Ok(Self {
            pattern: if has_type || is_short {
                pattern
            } else {
                read(&format!("{text}{DEFAULT_SUFFIX}"))?
            },
            is_slice: text.ends_with(SLICE),
            is_short,
        })
    }
}

impl Unit {
    pub(super) fn is_of(&self, service: &Service) -> bool {
        let is_named = |unit: &Option<String>| unit.as_ref().is_some_and(|unit| self.names(unit));
        is_named(&service.unit)
            || is_named(&service.user_unit)
            || (self.is_slice && slices(service).any(|slice| self.names(slice)))
    }

    fn names(&self, unit: &str) -> bool {
        let short = unit.strip_suffix(DEFAULT_SUFFIX).filter(|_| self.is_short);
        self.pattern.is_of(unit) || short.is_some_and(|short| self.pattern.is_of(short))
    }
}

/// The slices into which the system manager has put a service. Slices are never delegated, so a
/// component with such a name further down is not a slice.
fn slices(service: &Service) -> impl Iterator<Item = &str> {
    let components = service.cgroup.as_deref().unwrap_or_default().split('/').skip(1);
    components.take_while(|component| component.ends_with(SLICE))
}

/// A container by name, id or pod, or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerName(Pattern);

impl FromStr for ContainerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let forms = || {
            format!(
                "expected the name of a container, its id or {FEWEST_DIGITS} digits of that or \
                 more, NAMESPACE/POD or NAMESPACE/POD/CONTAINER, optionally with wildcards * ? [..], or \
                 one of these after ! for all others"
            )
        };
        if text.is_empty() || text.split('/').any(str::is_empty) {
            return Err(forms());
        }
        Pattern::new(text).map(Self).map_err(|problem| format!("{}; {problem}", forms()))
    }
}

impl ContainerName {
    /// Whether this is the service's container or an outer one.
    ///
    /// Whoever is delegated a cgroup may name it at will. A claimed container can therefore add a
    /// service to the stream, but never remove one. `may_be_claimed` is set in the former case.
    pub(super) fn is_of(&self, service: &Service, may_be_claimed: bool) -> bool {
        let containers = [&service.container, &service.outer_container];
        let believed =
            containers.into_iter().flatten().filter(|one| may_be_claimed || !one.claimed);
        let pod = service.pod.as_ref().filter(|pod| may_be_claimed || !pod.claimed);
        let pod =
            pod.and_then(|pod| Some(format!("{}/{}", pod.namespace.as_ref()?, pod.name.as_ref()?)));
        pod.as_ref().is_some_and(|pod| self.0.is_of(pod))
            || believed.into_iter().any(|container| {
                let inside = pod.as_ref().zip(container.name.as_ref());
                self.names(container)
                    || inside.is_some_and(|(pod, name)| self.0.is_of(&format!("{pod}/{name}")))
            })
    }

    fn names(&self, container: &Container) -> bool {
        container.name.as_ref().is_some_and(|name| self.0.is_of(name))
            || self.0.is_of(&container.id)
            || self.short_id().is_some_and(|id| container.id.starts_with(id))
    }

    fn short_id(&self) -> Option<&str> {
        self.0.exact().filter(|text| {
            text.len() >= FEWEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}

/// A cgroup by its path from the root, or a pattern. It includes everything below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupPath(Pattern);

impl FromStr for CgroupPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MOUNT: &str = "/sys/fs/cgroup";
        const FORMS: &str = "expected the path of a cgroup from the root, such as \
                             /system.slice/nginx.service, optionally with wildcards * ? [..], or !PATH for \
                             all others";
        let path = match text.strip_prefix(MOUNT) {
            Some("") => "/",
            Some(below) if below.starts_with('/') => below,
            _ => text,
        };
        if !path.starts_with('/') {
            return Err(FORMS.to_owned());
        }
        let pattern = Pattern::new(path.trim_end_matches('/'));
        pattern.map(Self).map_err(|problem| format!("{FORMS}; {problem}"))
    }
}

impl CgroupPath {
    pub(super) fn is_of(&self, service: &Service) -> bool {
        let Some(path) = service.cgroup.as_deref() else { return false };
        if let Some(above) = self.0.exact() {
            let rest = path.strip_prefix(above);
            return rest.is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'/')));
        }
        let above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
        above.chain(iter::once(path)).any(|path| self.0.is_of(path))
    }
}
