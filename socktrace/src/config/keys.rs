//! Settings, derived from the definition of the command line.

use clap::{ArgAction, Command};
use socktrace_similar::nearest;

/// Flags that select where settings come from, or request something other than tracing.
const NOT_SETTINGS: [&str; 7] =
    ["config", "print-config", "help", "version", "follow", "user", "output-file"];

/// Prefixes of settings in a file that concern a service, and not those who follow some processes.
const OF_A_SERVICE: [&str; 8] = [
    "no-stream",
    "listen",
    "health-listen",
    "web-config",
    "protect-health",
    "series-by-port",
    "history",
    "otlp",
];

/// Prefix of filters that hide values.
const NOT: &str = "not-";

/// Kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// On or off.
    Switch,
    /// One value.
    One,
    /// Any number of values.
    Many,
}

/// Definition of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Name of the flag without its dashes, and of the key in the file.
    pub(super) name: String,
    /// Id in clap.
    pub(super) id: String,
    pub(super) kind: Kind,
    /// Names of the settings that cannot be set with it.
    pub(super) conflicts: Vec<String>,
}

impl Key {
    /// Whether it concerns services.
    pub(super) fn is_of_a_service(&self) -> bool {
        OF_A_SERVICE.iter().any(|begin| self.name.starts_with(begin))
    }

    /// Name of the environment variable.
    pub(super) fn variable(&self) -> String {
        format!("{}{}", super::environment::PREFIX, self.name.replace('-', "_").to_uppercase())
    }

    /// Name of the opposite filter, if there is one: for values to hide instead of to show, or vice
    /// versa.
    pub(super) fn twin(&self) -> String {
        match self.name.strip_prefix(NOT) {
            Some(name) => name.to_owned(),
            None => format!("{NOT}{}", self.name),
        }
    }
}

/// All settings, in the order of the help text.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn of(command: &Command) -> Self {
        let mut keys: Vec<_> = command
            .get_arguments()
            .filter_map(|arg| {
                let name = arg.get_long().filter(|name| !NOT_SETTINGS.contains(name))?;
                let kind = match arg.get_action() {
                    ArgAction::SetTrue => Kind::Switch,
                    ArgAction::Append => Kind::Many,
                    ArgAction::Set => Kind::One,
                    _ => return None,
                };
                let conflicts = command.get_arg_conflicts_with(arg);
                let conflicts =
                    conflicts.iter().filter_map(|arg| arg.get_long().map(str::to_owned));
                Some(Key {
                    name: name.to_owned(),
                    id: arg.get_id().to_string(),
                    kind,
                    conflicts: conflicts.collect(),
                })
            })
            .collect();
        // A conflict is declared on one side and applies to both.
        let declared: Vec<(String, String)> = keys
            .iter()
            .flat_map(|key| key.conflicts.iter().map(|other| (other.clone(), key.name.clone())))
            .collect();
        for (name, other) in declared {
            if let Some(key) = keys.iter_mut().find(|key| key.name == name)
                && !key.conflicts.contains(&other)
            {
                key.conflicts.push(other);
            }
        }
        Self(keys)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    pub(super) fn find(&self, name: &str) -> Option<&Key> {
        self.iter().find(|key| key.name == name)
    }

    /// The setting whose name was probably meant.
    pub(super) fn nearest(&self, name: &str) -> Option<&Key> {
        self.find(nearest(name, self.iter().map(|key| key.name.as_str()))?)
    }
}
