//! The licenses of the crates that are linked into the daemon, with the notices that they ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{process, workspace};
use anyhow::{Context as _, Result};
use serde::Deserialize;
use xtask_common::arch::Arch;

/// How the names of files begin that have licenses and notices.
const NAMES: [&str; 6] = ["copying", "copyright", "licence", "license", "notice", "unlicense"];

const HEAD: &str = "\
socktrace is linked with these crates of Rust. Behind each is its license; the texts follow that
come with them.
";

/// What the kernel programs are compiled for, whatever the machine.
const KERNEL_TARGET: &str = "bpfel-unknown-none";

/// What cargo reports about all packages.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// None for packages of this repository.
    source: Option<String>,
}

impl Package {
    fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// The licenses of what the daemon depends on.
///
/// # Errors
///
/// When cargo fails, or a file cannot be read.
pub(super) fn of_dependencies(arch: &Arch) -> Result<String> {
    let mut linked = linked("socktrace", arch.rust_target)?;
    linked.extend(self::linked("socktrace-ebpf", KERNEL_TARGET)?);
    let metadata = process::output(cargo("metadata").arg("--format-version=1").args([
        "--filter-platform",
        arch.rust_target,
        "--filter-platform",
        KERNEL_TARGET,
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cannot read what cargo reports about packages")?;
    let mut packages = metadata.packages;
    packages.retain(|package| package.source.is_some() && linked.contains(&package.title()));
    document(&packages)
}

/// Names and versions of what is linked into a package: no build scripts, macros and tests.
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
    // `name v1.2.3`, with the path behind if it is of this repository.
    let titles = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
    });
    Ok(titles.collect())
}

fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args([subcommand, "--locked"]).current_dir(workspace::root());
    cargo
}

/// The list of packages, then each text once, with the packages that have it.
fn document(packages: &[Package]) -> Result<String> {
    let mut document = HEAD.to_owned();
    let mut texts = BTreeMap::<String, Vec<String>>::new();
    for package in packages {
        let license = package.license.as_deref().unwrap_or("see below");
        write!(document, "\n{}: {license}", package.title())?;
        for text in texts_in(package.manifest_path.parent().unwrap_or(Path::new("/")))? {
            texts.entry(text).or_default().push(package.title());
        }
    }
    document.push('\n');
    for (text, packages) in texts {
        write!(document, "\n{}\n{}\n\n{text}\n", "-".repeat(80), packages.join(", "))?;
    }
    Ok(document)
}

/// Licenses and notices in a crate's directory.
fn texts_in(directory: &Path) -> Result<BTreeSet<String>> {
    let read = || -> std::io::Result<_> {
        let mut texts = BTreeSet::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            if NAMES.iter().any(|start| name.starts_with(start)) && path.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&path)?).replace('\r', "");
                texts.insert(text.trim_matches('\n').to_owned());
            }
        }
        Ok(texts)
    };
    read().with_context(|| format!("cannot read licenses in {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_of_what_is_linked() {
        let document = of_dependencies(Arch::OWN).expect("licenses of all dependencies");
        let (list, texts) = document.split_once("\n----").expect("texts");
        // The daemon's, the kernel programs', a build script's, a macro's and a test's.
        for (name, is_linked) in [
            ("aya", true),
            ("aya-ebpf", true),
            ("cc", false),
            ("serde_derive", false),
            ("proptest", false),
        ] {
            let is_listed = list.lines().any(|line| line.starts_with(&format!("{name} ")));
            assert_eq!(is_listed, is_linked, "{name}");
        }
        assert!(!list.contains("\nsocktrace"), "{list}");
        assert!(!list.contains("see below"), "{list}");
        assert!(texts.contains("Apache License") && texts.contains("Permission is hereby granted"));
    }
}
