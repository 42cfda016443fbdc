//! A setting and its source.

use std::{fmt, path::PathBuf};

use super::keys::{Key, Kind};

/// Source of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// This line of a file, counted from 1.
    File(PathBuf, usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// Value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Switch(bool),
    Values(Vec<String>),
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) given: Given,
    pub(super) source: Source,
}

impl Setting {
    /// Reads a setting that was written as text.
    ///
    /// # Errors
    /// What is wrong with it, without its source.
    pub(super) fn from_text(key: &Key, text: &str, source: Source) -> Result<Self, String> {
        let given = match key.kind {
            Kind::Switch => Given::Switch(switch(&key.name, text)?),
            Kind::One => Given::Values(vec![text.to_owned()]),
            // Not at commas, which values may contain.
            Kind::Many => Given::Values(text.split_whitespace().map(str::to_owned).collect()),
        };
        Ok(Self { key: key.clone(), given, source })
    }

    /// Whether it turns something on, or gives it a value.
    pub(super) fn is_on(&self) -> bool {
        self.given != Given::Switch(false)
    }

    /// The equivalent flags.
    pub(super) fn flags(&self) -> Vec<String> {
        let name = &self.key.name;
        match &self.given {
            Given::Switch(true) => vec![format!("--{name}")],
            Given::Switch(false) => Vec::new(),
            Given::Values(values) => {
                values.iter().map(|value| format!("--{name}={value}")).collect()
            }
        }
    }
}

/// Parses the value of a switch.
///
/// # Errors
/// When it is neither on nor off.
pub(super) fn switch(name: &str, text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{name} is a switch: {text:?} is neither true nor false")),
    }
}
