//! Checks of the container recipe and of the Kubernetes manifests, within the limits of having no
//! engine and no cluster.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use socktrace_lab::{packages::stage::Stage, process, programs, workspace};

/// Oldest version of Kubernetes that manifests are checked for, and the newest known one.
const KUBERNETES: [&str; 2] = ["1.25", "1.37"];

/// Checks the manifests against Kubernetes's own schemas. Custom kinds have no schema there.
///
/// # Errors
///
/// When a manifest has a field or value that Kubernetes does not have.
pub(super) fn check_manifests() -> Result<()> {
    let directory = workspace::root().join("deploy/kubernetes");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let manifests: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    validate(&manifests)?;
    println!("ok   manifests");
    Ok(())
}

/// Checks files with manifests against the schemas.
///
/// # Errors
///
/// Same as [`check_manifests`].
pub(super) fn validate(manifests: &[PathBuf]) -> Result<()> {
    for version in KUBERNETES {
        let mut validate = Command::new("python3");
        validate.args(["-m", "kubernetes_validate", "--strict", "--quiet", "--no-warn"]);
        validate.args(["--kubernetes-version", version]).args(manifests);
        process::run(validate.env("PYTHONPATH", programs::manifest_checker()))
            .with_context(|| format!("by the schemas of Kubernetes {version}"))?;
    }
    Ok(())
}

/// Builds the image, and runs in it what needs no privileges, if buildah is installed.
///
/// # Errors
///
/// When it cannot be built, or its program does not run.
pub(super) fn check_image(stage: &Stage) -> Result<()> {
    if process::find("buildah").is_none() || !stage.arch.is_own() {
        eprintln!("No buildah here (package buildah), or another machine's image: not made");
        return Ok(());
    }
    let storage = tempfile::tempdir()?;
    let buildah = |subcommand: &str| {
        let mut buildah = Command::new("buildah");
        // Keeps the machine's own images untouched.
        buildah.arg("--root").arg(storage.path().join("images"));
        buildah.arg("--runroot").arg(storage.path().join("run"));
        buildah.args(["--storage-driver", "vfs", subcommand]);
        buildah
    };
    let recipe = workspace::root().join("deploy/container/Containerfile");
    let mut build = buildah("build");
    build.args(["--isolation", "chroot", "--tag", "socktrace", "--file"]).arg(recipe);
    process::output(build.arg(&stage.root))?;
    let container = process::output(buildah("from").arg("localhost/socktrace"))?;
    let mut run = buildah("run");
    run.args(["--isolation", "chroot", container.trim(), "--"]);
    let explained = process::output(run.args(["/usr/bin/socktrace", "explain", "EPIPE"]))?;
    ensure!(explained.starts_with("EPIPE"), "in the image socktrace says: {explained}");
    process::output(buildah("rm").arg(container.trim()))?;
    println!("ok   image");
    Ok(())
}
