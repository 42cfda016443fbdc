//! The compiled kernel programs in this package, which a stable compiler cannot build.

use std::{fs, path::Path};

use super::Programs;

/// File in which cargo records the commit a package was made from.
const ORIGIN: &str = ".cargo_vcs_info.json";

/// Finds the programs for this architecture.
pub(crate) fn programs(package: &Path, architecture: &str) -> Result<Programs, String> {
    let directory = package.join("programs");
    println!("cargo::rerun-if-changed={}", directory.display());
    let find = |name: String| {
        let path = directory.join(name);
        path.is_file().then_some(path).ok_or_else(|| {
            format!(
                "this package has no kernel programs for {architecture}: build from the repository"
            )
        })
    };
    Ok(Programs {
        plain: find(format!("{architecture}.o"))?,
        with_messages: find(format!("{architecture}-log.o"))?,
        commit: fs::read_to_string(package.join(ORIGIN)).ok().as_deref().and_then(commit),
    })
}

/// The commit, abbreviated to git's usual length.
fn commit(origin: &str) -> Option<String> {
    let (_, hash) = origin.split_once("\"sha1\": \"")?;
    hash.get(..12).map(str::to_owned)
}
