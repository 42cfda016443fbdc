//! Name and attributes of this host.

use std::{env::consts::ARCH, fs};

use nix::unistd::gethostname;

use super::attributes::Attributes;

/// Files with the id of the installation: machine-id(5), and the older file of D-Bus.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Attributes of the host, sent with everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    /// From `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) more: Vec<(String, String)>,
    /// Name of socktrace as a service: `OTEL_SERVICE_NAME`, or the attribute `service.name`.
    pub(super) own_name: Option<String>,
}

impl Host {
    /// Reads this host's attributes and adds the configured ones.
    pub(crate) fn new(more: Vec<(String, String)>, own_name: Option<String>) -> Self {
        // A container has a different machine-id than its host, or none.
        let asked = more.iter().find(|(key, _)| key == "host.id").map(|(_, value)| value.clone());
        let read = || MACHINE_IDS.iter().find_map(|path| fs::read_to_string(path).ok());
        let id = asked.or_else(read).map(|text| text.trim().to_owned());
        let id = id.filter(|id| !id.is_empty());
        let name = gethostname().ok().and_then(|name| name.into_string().ok());
        Self { name: name.filter(|name| !name.is_empty()), id, more, own_name }
    }

    /// Adds the host's attributes, except for those already present.
    pub(super) fn add(&self, attributes: &mut Attributes) {
        // Configured attributes take precedence.
        for (key, value) in &self.more {
            if !attributes.has(key) && !is_of_workload(key) {
                attributes.text(key, value);
            }
        }
        for (key, value) in [
            ("host.name", self.name.as_deref()),
            ("host.id", self.id.as_deref()),
            ("host.arch", Some(arch(ARCH))),
            ("os.type", Some("linux")),
        ] {
            if !attributes.has(key) {
                attributes.known(key, value);
            }
        }
    }
}

/// Whether an attribute identifies a workload. socktrace's own workload attributes do not apply to
/// programs whose sockets fail.
fn is_of_workload(key: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    begins(&["service.", "container.", "k8s.", "process."])
        && !begins(&["k8s.node.", "k8s.cluster."])
}

/// The processor architecture in OpenTelemetry's spelling.
fn arch(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        other => other,
    }
}
