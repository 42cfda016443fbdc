//! What can be set, read from the definition of the command line.

use clap::{ArgAction, Command};
use socktrace_similar::nearest;

/// Flags that say where settings come from, or ask for something else than tracing.
const NOT_SETTINGS: [&str; 7] =
    ["config", "print-config", "help", "version", "follow", "user", "output-file"];

/// What a file sets for a service, by the begin of its names: not for whoever follows some processes.
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

/// Something that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The flag without its dashes, and the key in the file.
    pub(super) name: String,
    /// Its id in clap.
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The names of those that cannot be set with it.
    pub(super) conflicts: Vec<String>,
}

impl Key {
    /// Whether it is a matter of services.
    pub(super) fn is_of_a_service(&self) -> bool {
        OF_A_SERVICE.iter().any(|begin| self.name.starts_with(begin))
    }

    /// The variable in the environment.
    pub(super) fn variable(&self) -> String {
        format!("{}{}", super::environment::PREFIX, self.name.replace('-', "_").to_uppercase())
    }

    /// The name of the other key that asks the same, if there is one: of what is wanted or what is not.
    pub(super) fn twin(&self) -> String {
        match self.name.strip_prefix(NOT) {
            Some(name) => name.to_owned(),
            None => format!("{NOT}{}", self.name),
        }
    }
}

/// Everything that can be set, in the order of the help text.
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
        // A conflict is declared on one side and holds on both.
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

    /// The name that was probably meant.
    pub(super) fn nearest(&self, name: &str) -> Option<&Key> {
        self.find(nearest(name, self.iter().map(|key| key.name.as_str()))?)
    }
}
