//! `ClickHouse`'s engine from a Python package, behind the subset of its HTTP interface that is
//! needed.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use socktrace_lab::{process, progress, setup::Setup, workspace};
use xtask_common::{http, otel};

use super::collector::free_port;

/// Version of chdb-core, which follows `ClickHouse`'s.
const VERSION: &str = "26.9.0";

/// Server that runs the engine.
const SERVER: &str = "xtask/fleet/engine.py";

/// Installs the engine, if necessary. Returns the directory from which Python imports it.
///
/// # Errors
///
/// When it cannot be fetched.
pub(super) fn ensure(setup: &Setup) -> Result<PathBuf> {
    let root = workspace::cache("tools").join(format!("chdb-core-{VERSION}"));
    if root.is_dir() {
        return Ok(root);
    }
    if process::find("pip3").is_none() {
        bail!("missing: pip3, which fetches the engine of ClickHouse");
    }
    if !setup.allowed {
        bail!("missing: chdb-core, and --no-setup forbids installing. Run again without it.");
    }
    let what = format!("ClickHouse's engine (chdb-core {VERSION})");
    let step = progress::step(format_args!("Installing {what}"));
    let unfinished = tempfile::tempdir_in(workspace::cache("tools"))?;
    let mut pip = Command::new("pip3");
    // Its dependencies are only for pandas data frames.
    pip.args(["install", "--quiet", "--no-compile", "--no-deps", "--target"])
        .arg(unfinished.path());
    pip.arg(format!("chdb-core=={VERSION}"));
    process::output(&mut pip).with_context(|| format!("cannot install {what}"))?;
    std::fs::rename(unfinished.keep(), &root)?;
    step.done(format_args!("Installed {what}"));
    Ok(root)
}

/// A running engine. Killed when dropped.
pub(super) struct Engine {
    child: Child,
    port: u16,
}

impl Engine {
    /// Starts it with an empty store in this directory.
    pub(super) fn start(libraries: &Path, directory: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut child = Command::new("python3")
            .arg(workspace::root().join(SERVER))
            .arg(directory)
            .arg(port.to_string())
            .env("PYTHONPATH", libraries)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let engine = Self { child, port };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the engine does not start");
        Ok(engine)
    }

    /// Address at which it answers.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a query, and returns the answer in this format.
    pub(super) fn query_as(&self, query: &str, format: &str) -> Result<String> {
        let path = format!("/?default_format={format}");
        http::post(([127, 0, 0, 1], self.port).into(), &path, "text/plain", query.as_bytes())
            .with_context(|| format!("the engine refuses: {query}"))
    }

    /// Runs a query, and returns one line for each row.
    pub(super) fn query(&self, query: &str) -> Result<String> {
        self.query_as(query, "TSV")
    }

    /// Creates the tables and views that are shipped, twice, as that must be possible.
    pub(super) fn make_schema(&self) -> Result<()> {
        let statements = otel::statements();
        for statement in statements.iter().chain(&statements) {
            self.query(statement)?;
        }
        Ok(())
    }

    /// Deletes all rows.
    pub(super) fn forget(&self) -> Result<()> {
        for table in ["otel_logs", "ends", "rsts"] {
            self.query(&format!("TRUNCATE TABLE otel.{table}"))?;
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Both fail only if the child has already ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
