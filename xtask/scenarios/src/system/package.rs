//! Installing, upgrading and removing the package.

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

/// What the service keeps.
const HISTORY: &str = "/var/lib/socktrace/history.db";

/// The configuration as the package has it.
const CONFIG_AS_IT_COMES: &str = "/run/socktrace.toml.orig";

/// The message by which systemd reports that a unit was started: its manual has the number.
const UNIT_STARTED: &str = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf";

/// A file of the package: the first version, or the one after it.
fn file(version: usize) -> String {
    format!("{}/{version}.deb", job::PACKAGES)
}

/// Installs the first version, if none is there.
pub(super) fn ensure_installed() -> Result<()> {
    if version().is_err() {
        run(&["dpkg", "--install", &file(0)])?;
        fs::copy(CONFIG, CONFIG_AS_IT_COMES)?;
    }
    Ok(())
}

/// The version that is installed, whole.
fn version() -> Result<String> {
    let said =
        run(&["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", PACKAGE])?;
    Ok(said.strip_prefix("installed ").context("not installed")?.to_owned())
}

/// Takes back what a scenario has changed in the configuration.
pub(super) fn restore_config() -> Result<()> {
    fs::write(CONFIG, fs::read(CONFIG_AS_IT_COMES)?)?;
    Ok(())
}

/// Once it is installed it neither runs nor listens, nor will it at the next start of the system,
/// until it is enabled. Its files are root's.
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

/// An upgrade keeps a changed configuration, and restarts the service that runs, once, with the
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

/// How often the service was started.
fn starts() -> Result<usize> {
    Ok(unit::journal(&[UNIT_STARTED, &format!("UNIT={UNIT}")])?.len())
}

/// Removing it stops it and leaves its configuration and its history; purging it leaves nothing.
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

/// The files and directories of the package.
fn files() -> Result<Vec<PathBuf>> {
    let list = run(&["dpkg-query", "--listfiles", PACKAGE])?;
    Ok(list.lines().map(PathBuf::from).collect())
}

/// Files below a directory with a name that has a word in it. Leaves out what the kernel makes
/// files of, and what scenarios bring.
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
