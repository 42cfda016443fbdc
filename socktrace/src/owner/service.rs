//! Services behind sockets.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Length of a shortened container id.
const SHORT_ID: usize = 12;

/// The service behind a socket. All text is printable ASCII of bounded length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Service {
    /// The cgroup's path from the root of the hierarchy; truncated if very long.
    pub(crate) cgroup: Option<String>,
    /// The unit of the system manager, as named by `systemctl`; a slice only for want of anything
    /// better.
    pub(crate) unit: Option<String>,
    /// The user whose session or service manager runs it.
    pub(crate) user: Option<u32>,
    /// The unit of that user's manager.
    pub(crate) user_unit: Option<String>,
    /// The innermost container.
    pub(crate) container: Option<Container>,
    /// The outermost container, if the one above is nested.
    pub(crate) outer_container: Option<Container>,
    /// The Kubernetes pod: the host's own, else the innermost claimed one.
    pub(crate) pod: Option<Pod>,
    /// Why the service is unknown.
    #[serde(rename = "owner_unknown")]
    pub(crate) unknown: Option<Unknown>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Container {
    /// The runtime's id: 64 hexadecimal digits, or the name with LXC and systemd-nspawn.
    pub(crate) id: String,
    /// The name in the runtime, or in its pod.
    pub(crate) name: Option<String>,
    /// `None` if the path names a container but not its runtime.
    pub(crate) runtime: Option<Runtime>,
    /// Whether the name comes from a user, container or service to which these cgroups are
    /// delegated, rather than from this host's runtime.
    pub(crate) claimed: bool,
}

/// Container runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runtime {
    Docker,
    Containerd,
    #[serde(rename = "cri-o")]
    CriO,
    Podman,
    Lxc,
    #[serde(rename = "systemd-nspawn")]
    Nspawn,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Pod {
    /// The UID in the API; for a static pod, the hash assigned by the kubelet.
    pub(crate) uid: String,
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) qos: Qos,
    /// Whether the name is claimed, as in [`Container`].
    pub(crate) claimed: bool,
}

/// A pod's quality-of-service class, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// Why a service is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unknown {
    /// Neither cgroup nor process was recorded.
    NotRecorded,
    /// Not recorded: more sockets were open than owners are tracked.
    OwnerMapFull,
    /// The process that opened or used the socket no longer holds a descriptor for it, and no
    /// process was waiting on it.
    HandedOn,
    /// No process can be named: the socket itself records user and cgroup, and no process was
    /// waiting on it.
    NoProcess,
    /// No process has accepted the connection yet, so it has no owner.
    NotAccepted,
    /// The cgroup was removed before it was looked up.
    CgroupGone,
    /// Too many cgroups are being looked up, or the files with a container's names are slow. A
    /// later look-up may succeed.
    Busy,
    /// The cgroup is outside what this process may see.
    NotVisible,
    /// The process exited before it was looked up, or its pid has been reused.
    ProcessGone,
}

impl Service {
    /// An unknown service.
    pub(crate) fn unknown(why: Unknown) -> Self {
        Self { unknown: Some(why), ..Self::default() }
    }

    /// Whether files of this host may have names for this service.
    pub(super) const fn may_have_names(&self) -> bool {
        self.container.is_some() || self.outer_container.is_some() || self.pod.is_some()
    }

    /// The short name shown in lines and metrics; `None` if there is none.
    ///
    /// With Kubernetes, it is `namespace/pod/container`; else the name of the container or the
    /// first digits of its id; else the unit, followed by the user's unit. A claimed name never
    /// stands alone, so that nobody can pose as another's service.
    pub(crate) fn label(&self) -> Option<Cow<'_, str>> {
        let container = self.trusted_container();
        if let Some(pod) = self.pod.as_ref().filter(|pod| !pod.claimed)
            && let (Some(namespace), Some(name)) = (&pod.namespace, &pod.name)
        {
            let inside = container.and_then(|container| container.name.as_deref());
            return Some(Cow::Owned(match inside {
                Some(inside) => format!("{namespace}/{name}/{inside}"),
                None => format!("{namespace}/{name}"),
            }));
        }
        if let Some(container) = container {
            return Some(Cow::Borrowed(container.label()));
        }
        let unit = self.unit.as_deref()?;
        // A container's scope is named by an id that changes with each restart.
        match &self.user_unit {
            Some(inner) if self.container.is_none() => Some(Cow::Owned(format!("{unit}/{inner}"))),
            _ => Some(Cow::Borrowed(unit)),
        }
    }

    /// The innermost container that is not merely claimed.
    pub(crate) fn trusted_container(&self) -> Option<&Container> {
        [&self.container, &self.outer_container].into_iter().flatten().find(|one| !one.claimed)
    }

    /// The label, unless it only shows that someone is logged in.
    pub(crate) fn informative_label(&self) -> Option<Cow<'_, str>> {
        let is_login = self.user.is_some() && self.user_unit.is_none();
        self.label().filter(|_| !is_login)
    }
}

impl Container {
    /// The container's name, or the first digits of its id.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(self.short_id())
    }

    fn short_id(&self) -> &str {
        self.id.get(..SHORT_ID).unwrap_or(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "3f2a1b4c5d6e7f80919293949596979899a0a1a2a3a4a5a6a7a8a9aaabacadae";

    fn container(name: Option<&str>) -> Container {
        Container {
            id: ID.into(),
            name: name.map(Into::into),
            runtime: Some(Runtime::Docker),
            claimed: false,
        }
    }

    fn pod(name: Option<&str>) -> Pod {
        Pod {
            uid: "8712f785-1a3e-41ec-a00b-e2dcc77431cb".into(),
            name: name.map(Into::into),
            namespace: name.map(|_| "shop".into()),
            qos: Qos::Burstable,
            claimed: false,
        }
    }

    fn label(service: &Service) -> Option<String> {
        service.label().map(Cow::into_owned)
    }

    #[test]
    fn the_most_informative_name_is_the_label() {
        let mut service = Service::default();
        assert_eq!(label(&service), None);
        service.unit = Some("user@1000.service".into());
        assert_eq!(label(&service).as_deref(), Some("user@1000.service"));
        service.user_unit = Some("sync.service".into());
        assert_eq!(label(&service).as_deref(), Some("user@1000.service/sync.service"));
        service.container = Some(container(None));
        assert_eq!(label(&service).as_deref(), Some("3f2a1b4c5d6e"));
        service.container = Some(container(Some("web")));
        assert_eq!(label(&service).as_deref(), Some("web"));
        service.pod = Some(pod(None));
        assert_eq!(label(&service).as_deref(), Some("web"));
        service.pod = Some(pod(Some("cart-0")));
        assert_eq!(label(&service).as_deref(), Some("shop/cart-0/web"));
        service.container = None;
        assert_eq!(label(&service).as_deref(), Some("shop/cart-0"));
    }

    #[test]
    fn logging_in_is_no_service() {
        let mut service = Service {
            unit: Some("session-3.scope".into()),
            user: Some(1000),
            ..Service::default()
        };
        assert_eq!(service.informative_label(), None);
        service.user_unit = Some("sync.service".into());
        assert!(service.informative_label().is_some());
        (service.user, service.user_unit) = (None, None);
        assert_eq!(service.informative_label().as_deref(), Some("session-3.scope"));
    }

    #[test]
    fn what_is_claimed_is_no_label() {
        let claimed = Container { claimed: true, ..container(Some("payments")) };
        let mut service = Service {
            unit: Some("user@1000.service".into()),
            user_unit: Some("docker-payments.scope".into()),
            container: Some(claimed),
            pod: Some(Pod { claimed: true, ..pod(Some("payments")) }),
            ..Service::default()
        };
        assert_eq!(label(&service).as_deref(), Some("user@1000.service"));
        service.outer_container = Some(container(Some("kind-worker")));
        assert_eq!(label(&service).as_deref(), Some("kind-worker"));
        service.outer_container = Some(container(None));
        assert_eq!(label(&service).as_deref(), Some("3f2a1b4c5d6e"));
    }

    #[test]
    fn json_names_are_those_of_the_field() {
        let service = Service {
            container: Some(Container { runtime: Some(Runtime::CriO), ..container(None) }),
            pod: Some(Pod { qos: Qos::BestEffort, ..pod(Some("cart-0")) }),
            unknown: Some(Unknown::CgroupGone),
            ..Service::default()
        };
        let value = serde_json::to_value(&service).expect("JSON");
        assert_eq!(value["container"]["runtime"], json!("cri-o"));
        assert_eq!(value["pod"]["qos"], json!("BestEffort"));
        assert_eq!(value["pod"]["namespace"], json!("shop"));
        assert_eq!(value["owner_unknown"], json!("cgroup_gone"));
        assert_eq!(value["unit"], json!(null));
    }
}
