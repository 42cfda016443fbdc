//! Licenses of the crates that are linked into the daemon, with the notices that they require.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::crates::{Crates, Package};

/// Prefixes of the names of files with licenses and notices.
const NAMES: [&str; 6] = ["copying", "copyright", "licence", "license", "notice", "unlicense"];

const HEAD: &str = "\
socktrace is linked with these crates of Rust. Behind each is its license; the texts follow that
come with them.
";

/// Returns the licenses of the daemon's dependencies.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn of(crates: &Crates) -> Result<String> {
    let packages: Vec<_> =
        crates.packages.iter().filter(|package| package.source.is_some()).collect();
    document(&packages)
}

/// List of packages, followed by each text once, with the packages that it applies to.
fn document(packages: &[&Package]) -> Result<String> {
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

/// Licenses and notices in the directory of a crate.
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
    use xtask_common::arch::Arch;

    use super::*;

    #[test]
    fn licenses_are_of_what_is_linked() {
        let document = of(&Crates::linked(Arch::OWN).expect("crates")).expect("licenses");
        let (list, texts) = document.split_once("\n----").expect("texts");
        // Crates of the daemon, of the kernel programs, of a build script, of a macro and of a
        // test.
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
