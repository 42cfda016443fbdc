//! The kubelet's naming schemes: pods' cgroups, containers in Docker and CRI-O, logs.

use super::{
    plain,
    service::{Pod, Qos},
};

/// Names of a pod, and optionally of one of its containers, from a file on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodNames {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: Option<String>,
}

impl PodNames {
    /// The names, if all of them are valid.
    pub(super) fn new(namespace: &str, pod: &str, container: Option<&str>) -> Option<Self> {
        Some(Self {
            namespace: plain::name(namespace)?.into(),
            pod: plain::name(pod)?.into(),
            container: container.and_then(plain::name).map(Into::into),
        })
    }

    /// Parses a container name in Docker and in CRI-O's storage:
    /// `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`.
    pub(super) fn from_container_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("k8s_")?.splitn(4, '_');
        let container = parts.next()?;
        let pod = parts.next()?;
        Self::new(parts.next()?, pod, Some(container))
    }

    /// Parses the name of a link in `/var/log/containers`: `POD_NAMESPACE_CONTAINER-ID.log`.
    pub(super) fn from_log_link(link: &str, id: &str) -> Option<Self> {
        let stem = link.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?;
        let mut parts = stem.splitn(3, '_');
        let pod = parts.next()?;
        let namespace = parts.next()?;
        Self::new(namespace, pod, Some(parts.next()?))
    }

    /// Parses the name of a directory in `/var/log/pods`: `NAMESPACE_POD_UID`.
    pub(super) fn from_log_directory(directory: &str, uid: &str) -> Option<Self> {
        let stem = directory.strip_suffix(uid)?.strip_suffix('_')?;
        let (namespace, pod) = stem.split_once('_')?;
        Self::new(namespace, pod, None)
    }
}

/// The pod that a path component stands for; `parent` is the component before it.
///
/// The component is `kubepods-burstable-podUID.slice` with the systemd driver, with underscores for
/// the UID's dashes, and `burstable/podUID` with the cgroupfs driver. `--cgroup-root` adds a prefix
/// to `kubepods`.
pub(super) fn pod(component: &str, parent: &str) -> Option<Pod> {
    // Colons separate the parts if kubelet and runtime use different drivers, as with container
    // prefixes.
    let component = component.split(':').next().unwrap_or_default();
    let (class, uid) = match component.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?,
        None => (parent, component.strip_prefix("pod")?),
    };
    Some(Pod {
        uid: uid_of_cgroup(uid)?,
        name: None,
        namespace: None,
        qos: qos(class)?,
        claimed: false,
    })
}

fn qos(class: &str) -> Option<Qos> {
    // The prefix names the parent cgroups, joined by dashes with the systemd driver.
    match class.rsplit('-').next()? {
        "burstable" => Some(Qos::Burstable),
        "besteffort" => Some(Qos::BestEffort),
        "kubepods" => Some(Qos::Guaranteed),
        _ => None,
    }
}

/// A UUID, or an MD5 of 32 digits for static pods.
fn uid_of_cgroup(text: &str) -> Option<String> {
    let uid = text.replace('_', "-");
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|&byte| byte == b'-').count();
    let good = digits == 32 && (uid.len() == 32 || (uid.len() == 36 && dashes == 4));
    good.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "8712f785-1a3e-41ec-a00b-e2dcc77431cb";
    const UID_UNDERSCORES: &str = "8712f785_1a3e_41ec_a00b_e2dcc77431cb";
    const HASH: &str = "3e61c214bc3ed9ff81e21474dd6cba17";
    const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";

    #[test]
    fn pods_of_both_drivers() {
        for (component, parent, uid, class) in [
            (format!("kubepods-burstable-pod{UID_UNDERSCORES}.slice"), "x", UID, Qos::Burstable),
            (format!("kubepods-besteffort-pod{UID_UNDERSCORES}.slice"), "x", UID, Qos::BestEffort),
            (
                format!("kubepods-pod{UID_UNDERSCORES}.slice"),
                "kubepods.slice",
                UID,
                Qos::Guaranteed,
            ),
            (format!("kubelet-kubepods-pod{HASH}.slice"), "x", HASH, Qos::Guaranteed),
            (format!("kubepods-pod{HASH}.slice:cri-containerd:{ID}"), "x", HASH, Qos::Guaranteed),
            (format!("pod{UID}"), "burstable", UID, Qos::Burstable),
            (format!("pod{UID}"), "besteffort", UID, Qos::BestEffort),
            (format!("pod{HASH}"), "kubepods", HASH, Qos::Guaranteed),
        ] {
            let found = pod(&component, parent).expect(&component);
            assert_eq!((found.uid.as_str(), found.qos), (uid, class), "{component}");
        }
    }

    #[test]
    fn what_is_no_pod() {
        for (component, parent) in [
            ("kubepods-burstable.slice".to_owned(), "kubepods.slice"),
            (format!("machine-libpod_pod_{ID}.slice"), "machine.slice"),
            (format!("app-pod{UID_UNDERSCORES}.slice"), "x"),
            (format!("pod{UID}"), "app"),
            ("pod".to_owned(), "kubepods"),
            (format!("pod{UID}x"), "kubepods"),
            (format!("pod{}", "-".repeat(36)), "kubepods"),
            ("podman".to_owned(), "burstable"),
        ] {
            assert_eq!(pod(&component, parent), None, "{component}");
        }
    }

    #[test]
    fn names_in_names() {
        let names = |container: Option<&str>| PodNames::new("shop", "cart-0", container);
        let docker = format!("k8s_app_cart-0_shop_{UID}_3");
        assert_eq!(PodNames::from_container_name(&docker), names(Some("app")));
        assert_eq!(PodNames::from_container_name("web"), None);
        assert_eq!(PodNames::from_container_name("k8s_app_cart-0"), None);
        let link = format!("cart-0_shop_app-{ID}.log");
        assert_eq!(PodNames::from_log_link(&link, ID), names(Some("app")));
        assert_eq!(PodNames::from_log_link(&link, &ID[1..]), None);
        let directory = format!("shop_cart-0_{UID}");
        assert_eq!(PodNames::from_log_directory(&directory, UID), names(None));
        assert_eq!(PodNames::from_log_directory(&directory, HASH), None);
        assert_eq!(PodNames::from_log_directory(&format!("a\u{1b}_b_{UID}"), UID), None);
    }
}
