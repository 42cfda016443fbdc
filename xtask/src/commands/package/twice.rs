//! Check that the same source makes the same bytes, wherever it is compiled.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use socktrace_lab::{packages::stage::Stage, process, progress, workspace};

/// Makes the packages again and compares them. The copy of the source is in a directory with a name
/// of another length, and cargo uses another home.
///
/// # Errors
///
/// When they cannot be made, or differ.
pub(super) fn check(stage: &Stage, made: &[PathBuf]) -> Result<()> {
    let directory = workspace::cache("package/again");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let root = directory.join("the-source-somewhere-else");
    copy_source(&root)?;
    fs::create_dir_all(root.join("target"))?;
    // Compilers and checkers, which are meant to be the same tools.
    symlink(workspace::cache("tools"), root.join("target/tools"))?;
    let home = directory.join("home");
    fs::create_dir_all(&home)?;
    // What is downloaded, and from where, is not compared.
    for name in ["registry", "config.toml"] {
        symlink(cargo_home()?.join(name), home.join(name))?;
    }
    let step = progress::step("Making the packages again, in another directory");
    let mut again = Command::new("cargo");
    again.args(["xtask", "package", "--no-setup", "--arch", stage.arch.name]);
    again.current_dir(&root).env("CARGO_HOME", &home).env_remove("CARGO_TARGET_DIR");
    for (name, value) in [
        ("SOCKTRACE_COMMIT", git(&["rev-parse", "--short=12", "HEAD"])?),
        ("SOURCE_DATE_EPOCH", git(&["log", "-1", "--format=%ct"])?),
    ] {
        again.env(name, value.trim());
    }
    process::output(&mut again)?;
    step.done("Made the packages again, in another directory");
    let mut different = Vec::new();
    for path in made {
        let other = root.join(path.strip_prefix(workspace::root())?);
        let other = fs::read(&other).with_context(|| format!("no {}", other.display()))?;
        if fs::read(path)? == other {
            println!("ok   twice the same: {}", name(path));
        } else {
            different.push(name(path));
        }
    }
    if !different.is_empty() {
        bail!(
            "the same source makes different bytes in {}: {}",
            root.display(),
            different.join(", ")
        );
    }
    fs::remove_dir_all(&directory).context("cannot remove what was made again")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Copies all files that git tracks or would add, in their current state.
fn copy_source(root: &Path) -> Result<()> {
    for file in git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?.split('\0')
    {
        let from = workspace::root().join(file);
        let Ok(metadata) = from.symlink_metadata() else { continue };
        let to = root.join(file);
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        if metadata.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if metadata.is_file() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}

fn git(arguments: &[&str]) -> Result<String> {
    process::output(Command::new("git").args(arguments).current_dir(workspace::root()))
}

fn cargo_home() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("nobody has no home")
}
