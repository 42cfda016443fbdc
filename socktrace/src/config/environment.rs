//! Settings from the environment.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
};

use super::{
    keys::Keys,
    setting::{Given, Setting, Source},
};
use crate::{cli::HISTORY_FILE, owner::is_deceptive};

/// Prefix of the variables.
pub(super) const PREFIX: &str = "SOCKTRACE_";

/// Variable that names the file.
pub(super) const FILE: &str = "SOCKTRACE_CONFIG";

/// Variable in which systemd lists the directories of a unit's `StateDirectory=`.
const STATE_DIRECTORIES: &str = "STATE_DIRECTORY";

/// Settings that a unit turns on unless they are set elsewhere: a history, in a unit with a
/// directory for it. The configuration could not override a flag of the unit.
pub(super) fn of_unit(variables: &[(OsString, OsString)], keys: &Keys) -> Vec<Setting> {
    let directories = variables.iter().find(|(name, _)| name == STATE_DIRECTORIES);
    let has_place = directories.is_some_and(|(_, directories)| {
        env::split_paths(directories).any(|it| Some(&*it) == Path::new(HISTORY_FILE).parent())
    });
    let key = keys.find("history").filter(|_| has_place);
    let setting = key.map(|key| Setting {
        key: key.clone(),
        given: Given::Switch(true),
        source: Source::Environment(STATE_DIRECTORIES.to_owned()),
    });
    setting.into_iter().collect()
}

/// Reads the settings; adds what is wrong with them to `problems`.
///
/// Unknown variables may belong to another program, as `SOCKTRACE_COMMIT` belongs to socktrace's
/// build; those that look like typing errors are added to `doubts`. Kubernetes gives every
/// container variables that begin with the name of each service, such as `SOCKTRACE_SERVICE_HOST`.
/// One of these, `SOCKTRACE_PORT`, has the name of a setting; its value, a URL, is not valid for that
/// setting. Empty variables are ignored.
pub(super) fn read(
    variables: impl Iterator<Item = (OsString, OsString)>,
    keys: &Keys,
    problems: &mut Vec<String>,
    doubts: &mut Vec<String>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX) && *name != FILE)
        else {
            continue;
        };
        if value.is_empty() || is_of_kubernetes(name, &value) {
            continue;
        }
        let key_name = name[PREFIX.len()..].to_lowercase().replace('_', "-");
        let Some(key) = keys.find(&key_name) else {
            if let Some(near) = keys.nearest(&key_name) {
                let name = name.replace(is_deceptive, "?");
                doubts.push(format!("{name}: unknown, ignored; did you mean {}?", near.variable()));
            }
            continue;
        };
        let Some(value) = value.to_str() else {
            problems.push(format!("{name}: the value is not valid UTF-8"));
            continue;
        };
        match Setting::from_text(key, value, Source::Environment(name.to_owned())) {
            Ok(setting) => settings.push(setting),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    settings
}

/// Whether Kubernetes has set the variable to the address of a service called socktrace, such as
/// `tcp://10.0.0.1:10054`.
fn is_of_kubernetes(name: &str, value: &OsStr) -> bool {
    name == "SOCKTRACE_PORT" && value.to_str().is_some_and(|value| value.contains("://"))
}
