//! Crates that are linked into the daemon, without build scripts, macros and tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use xtask_common::arch::Arch;

use crate::{process, workspace};

/// Target of the kernel programs, on any architecture.
const KERNEL_TARGET: &str = "bpfel-unknown-none";

/// Output of `cargo metadata`.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// None for a normal dependency, which is linked.
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) manifest_path: PathBuf,
    /// None for packages of this repository.
    pub(super) source: Option<String>,
}

impl Package {
    /// Name and version, which identify it.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// Linked crates.
#[derive(Debug)]
pub(super) struct Crates {
    /// Packages by name and version.
    pub(super) packages: Vec<Package>,
    /// Titles of the crates that each crate is linked with, by its title.
    pub(super) dependencies: BTreeMap<String, BTreeSet<String>>,
    /// SHA-256 of each crate in the registry, by title. Crates of this repository have none.
    pub(super) checksums: BTreeMap<String, String>,
}

impl Crates {
    /// Crates that are linked into the daemon for this architecture, and into its kernel programs.
    ///
    /// # Errors
    ///
    /// When cargo fails.
    pub(super) fn linked(arch: &Arch) -> Result<Self> {
        let mut linked = linked("socktrace", arch.rust_target)?;
        linked.extend(self::linked("socktrace-ebpf", KERNEL_TARGET)?);
        let metadata = process::output(cargo("metadata").arg("--format-version=1").args([
            "--filter-platform",
            arch.rust_target,
            "--filter-platform",
            KERNEL_TARGET,
        ]))?;
        let metadata: Metadata = serde_json::from_str(&metadata)
            .context("cannot read what cargo reports about packages")?;
        let mut packages = metadata.packages;
        packages.retain(|package| linked.contains(&package.title()));
        packages.sort_by_key(Package::title);
        let titles: BTreeMap<_, _> =
            packages.iter().map(|package| (package.id.clone(), package.title())).collect();
        let dependencies = metadata.resolve.nodes.iter().filter_map(|node| {
            let is_linked = |it: &&Dependency| it.dep_kinds.iter().any(|kind| kind.kind.is_none());
            let of = node.deps.iter().filter(is_linked).filter_map(|it| titles.get(&it.pkg));
            Some((titles.get(&node.id)?.clone(), of.cloned().collect()))
        });
        let dependencies = dependencies.collect();
        let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
        Ok(Self { packages, dependencies, checksums: checksums(&lock) })
    }
}

/// Names and versions of the crates that are linked into a package.
fn linked(package: &str, target: &str) -> Result<BTreeSet<String>> {
    let tree = process::output(cargo("tree").args([
        "--package",
        package,
        "--edges=normal,no-proc-macro",
        "--prefix=none",
        "--format={p}",
        "--target",
        target,
    ]))?;
    // `name v1.2.3`, followed by the path for a crate of this repository.
    let titles = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
    });
    Ok(titles.collect())
}

/// Checksums in a lock file, by title.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let packages = lock.split("[[package]]").skip(1);
    let found = packages.filter_map(|package| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.strip_prefix(" = ")?.trim_matches('"').to_owned())
        };
        Some((format!("{} {}", value("name")?, value("version")?), value("checksum")?))
    });
    found.collect()
}

fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args([subcommand, "--locked"]).current_dir(workspace::root());
    cargo
}
