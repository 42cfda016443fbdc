//! The package for Debian and its derivatives, built with debhelper.

use std::path::PathBuf;

use crate::process;
use anyhow::Result;

use super::stage::{Stage, VERSION};

/// Builds the package.
///
/// # Errors
///
/// When Debian's tools fail.
pub fn build(stage: &Stage) -> Result<PathBuf> {
    let arch = stage.arch.name;
    let mut build = stage.command("dpkg-buildpackage");
    build.args(["--build=binary", "--no-sign", "--no-check-builddeps", "--host-arch", arch]);
    process::output(&mut build)?;
    Ok(stage.output().join(format!("socktrace_{VERSION}_{arch}.deb")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace;

    #[test]
    fn both_changelogs_are_about_this_version() {
        let path = workspace::root().join("CHANGELOG.md");
        let changelog = fs::read_to_string(path).expect("there");
        // The text of a release is taken from this section.
        let section = changelog.split(&format!("\n## [{VERSION}] - ")).nth(1).expect("a section");
        assert!(section.lines().any(|line| line.starts_with("- ")), "{section}");
        let path = workspace::root().join("deploy/debian/changelog");
        let changelog = fs::read_to_string(path).expect("there");
        let first = changelog.lines().next().expect("an entry");
        assert!(first.starts_with(&format!("socktrace ({VERSION}) ")), "{first}");
    }
}
