//! The packaged service's history.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::tracer::PROGRAM,
    unit::{CONFIG, UNIT, fresh, run, said, systemctl, until},
    victim,
};

const DIRECTORY: &str = "/var/lib/socktrace";
const FILE: &str = "/var/lib/socktrace/history.db";

/// User and group of the service.
const SERVICE: &str = "socktrace";

/// A user without relevant groups.
const NOBODY: u32 = 65_534;

/// The package's default configuration keeps failures. Members of the service's group can read them
/// while it runs and afterwards, and others cannot. The service keeps nothing if so configured.
pub(in super::super) fn history() -> Result<()> {
    fresh()?;
    if fs::exists(DIRECTORY)? {
        fs::remove_dir_all(DIRECTORY)?;
    }
    systemctl(&["start", UNIT])?;
    said(&format!("history: {FILE}"), "5")?;
    victim::run()?;
    // Some lines may lack the owner, as that service has only just started.
    until(|| {
        let count = kept_for(0, 0)?.len();
        ensure!(count == victim::failures(), "{count} of {} are kept", victim::failures());
        Ok(())
    })?;
    let number =
        |option: &str| Ok::<u32, anyhow::Error>(run(&["id", option, SERVICE])?.trim().parse()?);
    let (user, group) = (number("-u")?, number("-g")?);
    for (path, mode) in [
        (DIRECTORY, 0o750),
        (FILE, 0o640),
        ("/var/lib/socktrace/history.db-wal", 0o640),
        ("/var/lib/socktrace/history.db-shm", 0o640),
        ("/var/lib/socktrace/history.db.lock", 0o600),
    ] {
        let found = fs::metadata(path).with_context(|| path.to_owned())?;
        let (owner, found) = ((found.uid(), found.gid()), found.mode() & 0o7777);
        ensure!(owner == (user, group) && found == mode, "{path}: {owner:?}, {found:o}");
    }
    let lines = kept_for(0, 0)?;
    ensure!(kept_for(NOBODY, group)? == lines, "a member of the group reads other lines");
    let refused = read_by(NOBODY, NOBODY).output()?;
    let words = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(1) && words.contains("group"), "{words}");
    let purged = read_by(NOBODY, group).arg("--purge").output()?;
    ensure!(purged.status.code() == Some(1), "a member of the group deletes it");

    systemctl(&["stop", UNIT])?;
    ensure!(kept_for(NOBODY, group)? == lines, "a member of the group reads other lines later");
    fs::write(CONFIG, "history = false\n")?;
    systemctl(&["start", UNIT])?;
    victim::run()?;
    victim::is_counted(1)?;
    systemctl(&["stop", UNIT])?;
    ensure!(kept_for(0, 0)? == lines, "it keeps what it is not to keep");
    run(&["socktrace", "history", "--purge"])?;
    ensure!(kept_for(0, 0)?.is_empty(), "something is left");
    Ok(())
}

/// Lines of TCP failures, as read by this user and group. The system's own programs have
/// failures of Unix sockets.
fn kept_for(user: u32, group: u32) -> Result<Vec<String>> {
    let output = read_by(user, group).args(["--output", "json"]).output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {words}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| line.contains("\"protocol\":\"tcp\""));
    Ok(lines.map(str::to_owned).collect())
}

fn read_by(user: u32, group: u32) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("history").uid(user).gid(group);
    command
}
