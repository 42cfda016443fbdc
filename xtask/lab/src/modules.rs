//! Kernel modules that a guest needs, and the order in which they load.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

/// Modules that scenarios use: network devices, socket listings, packet filters, kTLS. They are
/// loaded before the guest's command runs, because a guest has no modprobe.
pub(crate) const WANTED: [&str; 17] = [
    "inet_diag",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_limit",
    "nft_nat",
    "nft_reject",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "sch_netem",
    "tcp_diag",
    "tls",
    "tun",
    "unix_diag",
    "veth",
    "vsock_loopback",
];

/// Needed only where a kernel builds them as modules; elsewhere they are part of another one. kTLS
/// uses `gcm`, `ctr` and `ghash_generic` for AES-GCM; the rest are for network cards and address
/// translation.
pub(crate) const OPTIONAL: [&str; 10] = [
    "nf_tables_set",
    "nft_counter",
    "gcm",
    "ctr",
    "ghash_generic",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "virtio_pci",
    "virtio_net",
];

/// Modules that Podman uses for image layers, and for a network with published ports. A module that
/// a kernel lacks is built in.
pub(crate) const FOR_CONTAINERS: [&str; 9] = [
    "bridge",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_inet",
    "nft_masq",
    "nft_nat",
    "nft_reject_inet",
    "overlay",
    "veth",
];

/// Contents of a kernel's module directory.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Path of each module, and of the modules that it depends on, by its name.
    modules: BTreeMap<String, (String, Vec<String>)>,
    built_in: Vec<String>,
}

/// Modules to load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadOrder {
    /// Paths below the module directory, each after those it depends on.
    pub(crate) order: Vec<String>,
    /// Wanted modules that this kernel lacks.
    pub(crate) absent: Vec<String>,
}

impl Index {
    /// Reads `modules.dep` and `modules.builtin`.
    ///
    /// # Errors
    ///
    /// When one of them is missing.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Self::parse(&read("modules.dep")?, &read("modules.builtin")?))
    }

    fn parse(dependencies: &str, built_in: &str) -> Self {
        let modules = dependencies.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            Some((name(path), (path.to_owned(), needs)))
        });
        Self { modules: modules.collect(), built_in: built_in.lines().map(name).collect() }
    }

    /// Computes the load order of the wanted modules.
    pub(crate) fn plan(&self, wanted: &[&str], optional: &[&str]) -> LoadOrder {
        let mut plan = LoadOrder::default();
        for module in wanted {
            let known = self.modules.contains_key(*module);
            if !known && !self.built_in.iter().any(|name| name == module) {
                plan.absent.push((*module).to_owned());
            }
        }
        for module in wanted.iter().chain(optional) {
            self.add(module, &mut plan.order);
        }
        plan
    }

    fn add(&self, module: &str, order: &mut Vec<String>) {
        let Some((path, needs)) = self.modules.get(module) else {
            return;
        };
        if order.contains(path) {
            return;
        }
        for need in needs {
            self.add(&name(need), order);
        }
        order.push(path.clone());
    }
}

/// Name of a module: its file name without extensions, and with underscores only.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Path of a module in the guest, where it is uncompressed.
pub(crate) fn plain(path: &str) -> String {
    path.split_once(".ko").map_or_else(|| path.to_owned(), |(start, _)| format!("{start}.ko"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_load_after_what_they_need_and_once() {
        let index = Index::parse(
            "kernel/a/nf-reject.ko.xz:\n\
             kernel/a/nft_reject.ko.xz: kernel/a/nf_tables.ko.xz\n\
             kernel/a/nft_reject_inet.ko.xz: kernel/a/nft_reject.ko.xz kernel/a/nf-reject.ko.xz kernel/a/nf_tables.ko.xz\n\
             kernel/a/nf_tables.ko.xz: kernel/a/libcrc32c.ko.xz\n\
             kernel/a/libcrc32c.ko.xz:\n",
            "kernel/net/ipv4/tcp_diag.ko\n",
        );
        let plan =
            index.plan(&["nft_reject_inet", "tcp_diag", "nf_tables", "veth"], &["nft_counter"]);
        assert_eq!(
            plan.order,
            [
                "kernel/a/libcrc32c.ko.xz",
                "kernel/a/nf_tables.ko.xz",
                "kernel/a/nft_reject.ko.xz",
                "kernel/a/nf-reject.ko.xz",
                "kernel/a/nft_reject_inet.ko.xz",
            ]
        );
        assert_eq!(plan.absent, ["veth"]);
    }

    #[test]
    fn guests_get_plain_modules() {
        assert_eq!(plain("kernel/a/b.ko.zst"), "kernel/a/b.ko");
        assert_eq!(plain("kernel/a/b.ko"), "kernel/a/b.ko");
    }
}
