//! The package for Red Hat and its derivatives, built with rpmbuild.

use std::path::PathBuf;

use crate::{process, workspace};
use anyhow::Result;

use super::stage::{Stage, VERSION};

/// Builds the package, if the tool is installed.
///
/// # Errors
///
/// When it fails.
pub fn build(stage: &Stage) -> Result<Option<PathBuf>> {
    if process::find("rpmbuild").is_none() {
        return Ok(None);
    }
    let target = stage.arch.rust_target;
    let machine = target.split_once('-').map_or(target, |(machine, _)| machine);
    let directory = |name: &str| format!("{name} {}", stage.output().display());
    let mut build = stage.command("rpmbuild");
    build.args(["-bb", "--quiet", "--target", machine]);
    for definition in [
        format!("upstream_version {VERSION}"),
        format!("stage {}", stage.root.display()),
        directory("_rpmdir"),
        format!("{}/rpmbuild", directory("_topdir")),
        "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".into(),
        // These make builds from the same source identical.
        "_buildhost localhost".into(),
        "use_source_date_epoch_as_buildtime 1".into(),
        "clamp_mtime_to_source_date_epoch 1".into(),
    ] {
        build.args(["--define", &definition]);
    }
    process::output(build.arg(workspace::root().join("deploy/rpm/socktrace.spec")))?;
    Ok(Some(stage.output().join(format!("socktrace-{VERSION}-1.{machine}.rpm"))))
}
