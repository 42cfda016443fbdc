//! Installation, upgrade and removal of the package.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use xtask_common::job;

use super::{
    super::survive::programs,
    unit::{self, CONFIG, SOCKET, UNIT, comes_to, comes_to_programs, has, run, systemctl},
    victim,
};

const PACKAGE: &str = "socktrace";

/// History file of the service.
const HISTORY: &str = "/var/lib/socktrace/history.db";

/// Copy of the packaged configuration.
const CONFIG_AS_IT_COMES: &str = "/run/socktrace.toml.orig";

/// ID of the message that reports a started unit, from systemd's manual.
const UNIT_STARTED: &str = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf";

/// Package file: the first version, or the one after it.
fn file(version: usize) -> String {
    format!("{}/{version}.deb", job::PACKAGES)
}

/// Installs the first version, if no version is installed.
pub(super) fn ensure_installed() -> Result<()> {
    if version().is_err() {
        run(&["dpkg", "--install", &file(0)])?;
        fs::copy(CONFIG, CONFIG_AS_IT_COMES)?;
    }
    Ok(())
}

/// Version that is completely installed.
fn version() -> Result<String> {
    let said =
        run(&["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", PACKAGE])?;
    Ok(said.strip_prefix("installed ").context("not installed")?.to_owned())
}

/// Reverts a scenario's changes to the configuration.
pub(super) fn restore_config() -> Result<()> {
    fs::write(CONFIG, fs::read(CONFIG_AS_IT_COMES)?)?;
    Ok(())
}

/// After installation, the service neither runs nor listens, nor does it after the next boot, until
/// it is enabled. Its files belong to root.
pub(in super::super) fn install() -> Result<()> {
    ensure!(version().is_err(), "it is there already");
    ensure_installed()?;
    for unit in [UNIT, SOCKET] {
        for (question, answer) in [("is-active", "inactive"), ("is-enabled", "disabled")] {
            let said = unit::output(&["systemctl", question, unit])?.stdout;
            ensure!(said.trim_ascii() == answer.as_bytes(), "{unit} is not {answer}");
        }
    }
    ensure!(victim::scrape().is_err(), "somebody serves metrics");
    for path in files()? {
        let metadata = fs::symlink_metadata(&path).with_context(|| path.display().to_string())?;
        ensure!((metadata.uid(), metadata.gid()) == (0, 0), "{} is not root's", path.display());
        ensure!(
            metadata.mode() & 0o022 == 0 || metadata.is_symlink(),
            "{} may be changed by others",
            path.display()
        );
    }
    let differing = run(&["dpkg", "--verify", PACKAGE])?;
    ensure!(differing.is_empty(), "not as in the package:\n{differing}");
    let version = format!("socktrace {}", env!("CARGO_PKG_VERSION"));
    let said = run(&["socktrace", "--version"])?;
    ensure!(said.starts_with(&version), "not {version}: {said}");
    systemctl(&["enable", "--quiet", UNIT])?;
    has(&[("UnitFileState", "enabled")])?;
    systemctl(&["disable", "--quiet", UNIT])?;
    has(&[("UnitFileState", "disabled")])
}

/// An upgrade keeps a changed configuration, and restarts the running service once, with the
/// sockets that systemd holds for it.
pub(in super::super) fn upgrade() -> Result<()> {
    unit::fresh()?;
    let changed = fs::read_to_string(CONFIG)? + "idle-threshold = 61\n";
    fs::write(CONFIG, &changed)?;
    systemctl(&["start", SOCKET, UNIT])?;
    let (before, pid, started) = (version()?, unit::property("MainPID")?, starts()?);
    run(&["dpkg", "--force-confold", "--install", &file(1)])?;
    let after = version()?;
    ensure!(
        run(&["dpkg", "--compare-versions", &after, "gt", &before]).is_ok(),
        "{after} is no newer than {before}"
    );
    has(&[("ActiveState", "active"), ("SubState", "running")])?;
    ensure!(unit::property("MainPID")? != pid, "the old version runs on");
    systemctl(&["is-active", SOCKET])?;
    let restarts = starts()? - started;
    ensure!(restarts == 1, "it was started {restarts} times");
    ensure!(fs::read_to_string(CONFIG)? == changed, "the configuration was changed");
    victim::run()?;
    victim::is_counted(1)
}

/// Number of times the service was started.
fn starts() -> Result<usize> {
    Ok(unit::journal(&[UNIT_STARTED, &format!("UNIT={UNIT}")])?.len())
}

/// Removing the package stops the service, and keeps its configuration and history.
/// Purging it leaves nothing.
pub(in super::super) fn removal() -> Result<()> {
    unit::fresh()?;
    let before = programs()?;
    systemctl(&["enable", "--quiet", UNIT, SOCKET])?;
    systemctl(&["start", UNIT])?;
    ensure!(Path::new(HISTORY).exists(), "it keeps no history");
    run(&["dpkg", "--remove", PACKAGE])?;
    comes_to(&[("ActiveState", "inactive"), ("MainPID", "0")])?;
    for path in [CONFIG, HISTORY] {
        ensure!(Path::new(path).exists(), "{path} is gone");
    }
    ensure!(victim::scrape().is_err(), "somebody serves metrics");
    comes_to_programs(before)?;

    run(&["dpkg", "--purge", PACKAGE])?;
    systemctl(&["daemon-reload"])?;
    has(&[("LoadState", "not-found")])?;
    let left = named(Path::new("/"), PACKAGE)?;
    ensure!(left.is_empty(), "there are still {left:?}");
    Ok(())
}

/// Files and directories of the package.
fn files() -> Result<Vec<PathBuf>> {
    let list = run(&["dpkg-query", "--listfiles", PACKAGE])?;
    Ok(list.lines().map(PathBuf::from).collect())
}

/// Files below a directory whose names contain a word, except virtual file systems
/// and files of the scenarios.
fn named(directory: &Path, word: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            let is_ours = ["/dev", "/proc", "/sys", CONFIG_AS_IT_COMES];
            if is_ours.iter().any(|place| path == Path::new(place)) {
                continue;
            }
            if contains(&entry.file_name(), word) {
                found.push(path.clone());
            }
            if entry.file_type()?.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(found)
}

fn contains(name: &OsStr, word: &str) -> bool {
    name.as_bytes().windows(word.len()).any(|window| window == word.as_bytes())
}
