//! Finds this host's history, for readers.

use std::{env, path::PathBuf};

use clap::CommandFactory as _;

use super::{
    environment,
    keys::Keys,
    resolve::{DEFAULT_FILE, read_file},
    setting::{Given, Setting},
};
use crate::cli::{Cli, HISTORY_FILE};

/// Setting for the file.
const KEY: &str = "history-file";

/// The file that a daemon with this environment and the host's configuration writes.
///
/// Unreadable files and invalid settings are ignored here: they are the daemon's concern.
pub(crate) fn history_file() -> PathBuf {
    let variables: Vec<_> = env::vars_os().collect();
    let keys = Keys::of(&Cli::command());
    let named = variables.iter().find(|(name, path)| name == environment::FILE && !path.is_empty());
    let named = named.map(|(_, path)| PathBuf::from(path));
    let (mut problems, mut doubts) = (Vec::new(), Vec::new());
    let mut settings = environment::read(variables.into_iter(), &keys, &mut problems, &mut doubts);
    settings.extend(read_file(named.as_deref(), DEFAULT_FILE.as_ref(), &keys, &mut problems));
    file_of(settings)
}

/// File in the first of these settings that names one, else the default.
fn file_of(settings: Vec<Setting>) -> PathBuf {
    let found = settings.into_iter().find(|setting| setting.key.name == KEY);
    match found.map(|setting| setting.given) {
        Some(Given::Values(values)) => values.into_iter().next_back().map(PathBuf::from),
        _ => None,
    }
    .unwrap_or_else(|| HISTORY_FILE.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_environment_wins_over_the_file_and_that_over_the_default() {
        let keys = Keys::of(&Cli::command());
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socktrace.toml");
        // Only the second line matters here.
        std::fs::write(&path, "no-such-key = 1\nhistory-file = \"/srv/a.db\"\n").expect("written");
        let in_file = || read_file(Some(&path), Path::new("/"), &keys, &mut Vec::new());
        let variables = [("SOCKTRACE_HISTORY_FILE".into(), "/srv/b.db".into())];
        let mut both =
            environment::read(variables.into_iter(), &keys, &mut Vec::new(), &mut Vec::new());
        both.extend(in_file());
        assert_eq!(file_of(both), Path::new("/srv/b.db"));
        assert_eq!(file_of(in_file()), Path::new("/srv/a.db"));
        assert_eq!(file_of(Vec::new()), Path::new(HISTORY_FILE));
    }
}
