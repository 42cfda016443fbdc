//! Recognition of containers by the names of their cgroups, for each runtime.

use super::{
    plain,
    service::{Container, Runtime},
    systemd,
};

/// Number of digits of a container's id: a SHA-256, or as many random digits.
const ID_DIGITS: usize = 64;

/// Prefixes of the id in a scope (`docker-ID.scope`, systemd driver), a directory (`crio-ID`,
/// cgroupfs driver), or between colons (`system.slice:docker:ID`, cgroupfs driver with a parent
/// meant for the systemd driver). The monitor processes of containers (`crio-conmon-ID.scope`) have
/// different names in place of the id.
const PREFIXES: [(&str, Runtime); 6] = [
    ("docker", Runtime::Docker),
    ("cri-containerd", Runtime::Containerd),
    ("nerdctl", Runtime::Containerd),
    ("crio", Runtime::CriO),
    ("libpod", Runtime::Podman),
    // With `--cgroups=split`, as used by Quadlet's services.
    ("libpod-payload", Runtime::Podman),
];

/// The container that a path component stands for; `parent` is the component before it.
pub(super) fn container(component: &str, parent: &str) -> Option<Container> {
    hexadecimal(component, parent).or_else(|| lxc(component, parent)).or_else(|| machine(component))
}

fn hexadecimal(component: &str, parent: &str) -> Option<Container> {
    if is_id(component) {
        return match parent {
            // A Podman pod, which is not a container.
            "libpod_parent" => None,
            "docker" => Some(with_id(component, Some(Runtime::Docker))),
            _ => Some(with_id(component, None)),
        };
    }
    let (prefix, id) = component.rsplit_once(':').map_or_else(
        || component.strip_suffix(".scope").unwrap_or(component).rsplit_once('-'),
        |(before, id)| Some((before.rsplit_once(':')?.1, id)),
    )?;
    let (_, runtime) = PREFIXES.iter().find(|(known, _)| *known == prefix)?;
    is_id(id).then(|| with_id(id, Some(*runtime)))
}

/// `lxc.payload.NAME` since LXC 4; `lxc.payload/NAME` and `lxc/NAME` before, and on Proxmox.
fn lxc(component: &str, parent: &str) -> Option<Container> {
    let name = match parent {
        "lxc" | "lxc.payload" => component,
        _ => component.strip_prefix("lxc.payload.")?,
    };
    Some(with_name(plain::name(name)?, Some(Runtime::Lxc)))
}

/// Containers registered with systemd-machined, by systemd-nspawn or libvirt.
fn machine(component: &str) -> Option<Container> {
    let unit = systemd::unit(component)?;
    let escaped = unit
        .strip_prefix("machine-")
        .and_then(|rest| rest.strip_suffix(".scope"))
        .or_else(|| unit.strip_prefix("systemd-nspawn@")?.strip_suffix(".service"))?;
    let name = systemd::unescape(escaped)?;
    let name = plain::name(&name)?;
    // libvirt puts the driver first. Virtual machines are not containers.
    match name.split_once('-') {
        Some(("qemu" | "ch" | "xen", _)) => None,
        Some(("lxc", _)) => Some(with_name(name, None)),
        _ => Some(with_name(name, Some(Runtime::Nspawn))),
    }
}

pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn with_id(id: &str, runtime: Option<Runtime>) -> Container {
    Container { id: id.into(), name: None, runtime, claimed: false }
}

fn with_name(name: &str, runtime: Option<Runtime>) -> Container {
    Container { name: Some(name.into()), ..with_id(name, runtime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";

    fn runtime(component: &str, parent: &str) -> Option<(String, Option<Runtime>)> {
        container(component, parent).map(|found| (found.id, found.runtime))
    }

    #[test]
    fn each_runtime_in_each_form() {
        for (prefix, expected) in PREFIXES {
            let found = Some((ID.to_owned(), Some(expected)));
            assert_eq!(runtime(&format!("{prefix}-{ID}.scope"), "system.slice"), found);
            assert_eq!(runtime(&format!("{prefix}-{ID}"), "kubepods"), found);
            assert_eq!(runtime(&format!("a-b.slice:{prefix}:{ID}"), "x"), found);
        }
    }

    #[test]
    fn directories_without_a_prefix_take_it_from_above() {
        assert_eq!(runtime(ID, "docker"), Some((ID.into(), Some(Runtime::Docker))));
        assert_eq!(runtime(ID, "burstable"), Some((ID.into(), None)));
        assert_eq!(runtime(ID, "libpod_parent"), None);
    }

    #[test]
    fn what_only_looks_like_a_container() {
        for component in [
            format!("crio-conmon-{ID}.scope"),
            format!("libpod-conmon-{ID}.scope"),
            format!("docker-{}.scope", &ID[1..]),
            format!("docker-{}.scope", ID.to_uppercase()),
            format!("x:docker-{ID}"),
            format!("{ID}:docker"),
            format!("other-{ID}.scope"),
            "docker-.scope".into(),
            "lxc.monitor.web".into(),
            "lxc.payload.".into(),
            "lxc.payload.a b".into(),
            "machine-qemu\\x2d1\\x2dvm.scope".into(),
            "machine-.scope".into(),
            "machine-a\\x1bb.scope".into(),
            ":".into(),
            "-".into(),
            String::new(),
        ] {
            assert_eq!(container(&component, "x"), None, "{component}");
        }
    }

    #[test]
    fn containers_that_have_names_only() {
        for (component, parent, name, expected) in [
            ("lxc.payload.web", "", "web", Some(Runtime::Lxc)),
            ("101", "lxc", "101", Some(Runtime::Lxc)),
            ("web", "lxc.payload", "web", Some(Runtime::Lxc)),
            ("machine-my\\x2dweb.scope", "machine.slice", "my-web", Some(Runtime::Nspawn)),
            ("systemd-nspawn@web.service", "machine.slice", "web", Some(Runtime::Nspawn)),
            ("machine-lxc\\x2d7\\x2dweb.scope", "machine.slice", "lxc-7-web", None),
        ] {
            let found = container(component, parent).expect(component);
            assert_eq!((found.id.as_str(), found.runtime), (name, expected), "{component}");
            assert_eq!(found.name.as_deref(), Some(name));
        }
    }
}
