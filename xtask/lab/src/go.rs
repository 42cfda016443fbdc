//! Programs written in Go that check what this repository ships. Where Go is missing, their checks
//! are skipped, as socktrace itself does not need it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{process, progress, setup::Setup, workspace};

/// A published program.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    name: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Renders charts.
pub const HELM: Tool = Tool { name: "helm", package: "helm.sh/helm/v4/cmd/helm", version: "4.3.2" };

/// Checks GitHub workflows.
pub const ACTIONLINT: Tool = Tool {
    name: "actionlint",
    package: "github.com/rhysd/actionlint/cmd/actionlint",
    version: "1.7.12",
};

impl Tool {
    /// Path of the program, which is compiled if necessary; none where Go is missing.
    ///
    /// # Errors
    ///
    /// When it may not be installed, or does not compile.
    pub fn ensure(&self, setup: &Setup) -> Result<Option<PathBuf>> {
        let Self { name, package, version } = self;
        let root = workspace::cache("tools").join(format!("{name}-{version}"));
        let program = root.join(name);
        if program.is_file() {
            return Ok(Some(program));
        }
        if !is_there() {
            return Ok(None);
        }
        setup.allow(&format!("{name} {version}"))?;
        let step = progress::step(format_args!("Compiling {name} {version}"));
        let mut go = Command::new("go");
        go.args(["install", &format!("{package}@v{version}")]).env("GOBIN", &root);
        process::output(go.current_dir("/")).with_context(|| format!("cannot compile {name}"))?;
        step.done(format_args!("Compiled {name} {version}"));
        Ok(Some(program))
    }
}

/// Whether Go is present and can fetch the newer version of itself that a program may need: 1.21 or
/// later.
fn is_there() -> bool {
    let version = process::output(Command::new("go").args(["env", "GOVERSION"]).current_dir("/"));
    let version = version.unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.split(['.', '\n']).next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 21)
}

/// Compiles a Go program of this repository.
///
/// # Errors
///
/// When it does not compile.
pub fn build(directory: &Path) -> Result<PathBuf> {
    let name = directory.file_name().context("a program has a directory")?;
    let program = workspace::cache("tools").join("go").join(name);
    fs::create_dir_all(workspace::cache("tools/go"))?;
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".").current_dir(directory);
    process::output(&mut go).with_context(|| format!("cannot compile {}", directory.display()))?;
    Ok(program)
}
