//! What this host is called.

use std::{env::consts::ARCH, fs};

use nix::unistd::gethostname;

use super::attributes::Attributes;

/// Where an installation has its id: machine-id(5), and where D-Bus had it before.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Attributes shared by everything that is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    /// From `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) more: Vec<(String, String)>,
    /// This program's service name: `OTEL_SERVICE_NAME`, or its attribute.
    pub(super) own_name: Option<String>,
}

impl Host {
    /// This host, with what was asked to be said of it.
    pub(crate) fn new(more: Vec<(String, String)>, own_name: Option<String>) -> Self {
        // A container has another one than its host, or none.
        let asked = more.iter().find(|(key, _)| key == "host.id").map(|(_, value)| value.clone());
        let read = || MACHINE_IDS.iter().find_map(|path| fs::read_to_string(path).ok());
        let id = asked.or_else(read).map(|text| text.trim().to_owned());
        let id = id.filter(|id| !id.is_empty());
        let name = gethostname().ok().and_then(|name| name.into_string().ok());
        Self { name: name.filter(|name| !name.is_empty()), id, more, own_name }
    }

    /// Adds what is known of it, but for what is known already.
    pub(super) fn add(&self, attributes: &mut Attributes) {
        // Whoever starts it may know better.
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

/// Whether an attribute says which workload something is about: that of socktrace itself is not that of a
/// program whose socket has failed.
fn is_of_workload(key: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    begins(&["service.", "container.", "k8s.", "process."])
        && !begins(&["k8s.node.", "k8s.cluster."])
}

/// A processor as OpenTelemetry calls it.
fn arch(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        other => other,
    }
}
