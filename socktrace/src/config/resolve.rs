//! Combines the settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{
    ArgMatches, Command, CommandFactory as _, FromArgMatches as _, error::ErrorKind,
    parser::ValueSource,
};

use socktrace_otlp::{Environment, Settings};

use super::{
    environment, file,
    keys::{Keys, Kind},
    setting::{Setting, Source, switch},
};
use crate::{
    cli::{Cli, missing_feature},
    owner::is_deceptive,
};

/// File that is read if it exists and no other is given.
pub(super) const DEFAULT_FILE: &str = "/etc/socktrace/socktrace.toml";

/// Maximum size of a file: there are some forty settings.
const LARGEST: u64 = 256 << 10;

/// The command line, with everything that was set elsewhere.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) cli: Cli,
    /// File that is read, if it exists.
    pub(crate) file: PathBuf,
    /// What to send by OTLP, and how; `None` for nothing.
    pub(crate) otlp: Option<Settings>,
    pub(super) matches: ArgMatches,
    pub(super) keys: Keys,
    /// Sources of the settings that are not defaults, by the key's name.
    pub(super) sources: BTreeMap<String, Source>,
    /// Doubtful settings, one line each.
    pub(crate) doubts: Vec<String>,
}

/// Reason why there is no valid configuration.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line is wrong, or requests help.
    Usage(clap::Error),
    /// Other settings are wrong; one line each.
    Settings(Vec<String>),
}

impl From<clap::Error> for Error {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

impl Resolved {
    /// Reads this process's command line, environment and file.
    ///
    /// # Errors
    /// [`Error`], to be shown to the user.
    pub(crate) fn of_process() -> Result<Self, Error> {
        let resolved = Self::new(env::args_os(), env::vars_os(), Path::new(DEFAULT_FILE))?;
        match missing_feature(&resolved.cli) {
            Some(problem) => Err(Error::Settings(vec![with_places(problem, &resolved.sources)])),
            None => Ok(resolved),
        }
    }

    pub(super) fn new(
        arguments: impl Iterator<Item = OsString>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        default_file: &Path,
    ) -> Result<Self, Error> {
        let variables: Vec<_> = variables.collect();
        let otel = Environment::of(variables.iter().cloned());
        let command = Cli::command();
        let keys = Keys::of(&command);
        let (arguments, off) = take_back(arguments, &keys)?;
        let flags = command.clone().try_get_matches_from(&arguments)?;
        if flags.subcommand_name().is_some() {
            let file = default_file.to_owned();
            return Self::finish(flags, keys, file, (BTreeMap::new(), Vec::new()), &otel);
        }

        let (mut problems, mut doubts) = (Vec::new(), Vec::new());
        let (named, variables): (Vec<_>, Vec<_>) =
            variables.into_iter().partition(|(name, _)| name == environment::FILE);
        let in_environment =
            environment::read(variables.iter().cloned(), &keys, &mut problems, &mut doubts);
        let of_unit = environment::of_unit(&variables, &keys);
        let named = named.into_iter().map(|(_, path)| path).find(|path| !path.is_empty());
        let asked_for = flags.get_one::<PathBuf>("config").cloned().or(named.map(PathBuf::from));
        let mut in_file = read_file(asked_for.as_deref(), default_file, &keys, &mut problems);
        if ["words", "follow"].iter().any(|id| flags.contains_id(id)) {
            in_file.retain(|setting| !setting.key.is_of_a_service());
        }
        let file = asked_for.unwrap_or_else(|| default_file.to_owned());
        for setting in in_environment.iter().chain(&in_file) {
            problems.extend(wrong_value(&command, setting));
        }
        if !problems.is_empty() {
            return Err(Error::Settings(problems));
        }

        let mut chosen = Chosen::of_flags(&flags, off, &keys);
        chosen.add_below(in_environment);
        chosen.add_below(in_file);
        chosen.add_below(of_unit);
        let mut all = arguments;
        let at = 1.min(all.len());
        all.splice(at..at, chosen.flags.iter().map(OsString::from));
        let matches =
            command.try_get_matches_from(all).map_err(|error| located(error, &chosen.sources))?;
        Self::finish(matches, keys, file, (chosen.sources, doubts), &otel)
    }

    fn finish(
        matches: ArgMatches,
        keys: Keys,
        file: PathBuf,
        (sources, doubts): (BTreeMap<String, Source>, Vec<String>),
        otel: &Environment,
    ) -> Result<Self, Error> {
        let mut cli = Cli::from_arg_matches(&matches)?;
        // No metrics unless they are requested explicitly.
        cli.no_metrics |= cli.follows() && cli.listen.is_empty() && cli.health_listen.is_empty();
        cli.check().map_err(|error| located(error, &sources))?;
        let otlp = cli.otlp.asked().map(|asked| Settings::new(asked, otel)).transpose();
        let otlp = otlp.map_err(|problems| {
            let problems = problems.into_iter().map(|text| with_places(text, &sources));
            Error::Settings(problems.collect())
        })?;
        Ok(Self { cli, file, otlp, matches, keys, sources, doubts })
    }

    /// Names of the settings that differ between the two.
    pub(crate) fn changes(&self, other: &Self) -> Vec<&str> {
        let values = |resolved: &Self, id: &str| -> Vec<OsString> {
            let raw = resolved.matches.get_raw(id).into_iter().flatten();
            raw.map(OsStr::to_owned).collect()
        };
        let keys = self.keys.iter().filter(|key| values(self, &key.id) != values(other, &key.id));
        keys.map(|key| key.name.as_str()).collect()
    }
}

/// Settings in force up to the current level.
struct Chosen {
    flags: Vec<String>,
    sources: BTreeMap<String, Source>,
    /// Settings that lower levels may not set any more.
    closed: BTreeSet<String>,
}

impl Chosen {
    fn of_flags(flags: &ArgMatches, off: BTreeSet<String>, keys: &Keys) -> Self {
        let mut chosen =
            Self { flags: Vec::new(), sources: BTreeMap::new(), closed: BTreeSet::new() };
        for key in keys.iter() {
            if flags.value_source(&key.id) == Some(ValueSource::CommandLine) {
                chosen.sources.insert(key.name.clone(), Source::Flag);
                chosen.closed.extend(key.conflicts.iter().cloned());
                chosen.closed.insert(key.twin());
            }
        }
        for name in off {
            chosen.sources.insert(name, Source::Flag);
        }
        chosen.closed.extend(chosen.sources.keys().cloned());
        chosen
    }

    /// Adds the settings of the next lower level, except those decided above.
    fn add_below(&mut self, settings: Vec<Setting>) {
        let settings: Vec<_> =
            settings.into_iter().filter(|it| !self.closed.contains(&it.key.name)).collect();
        for setting in settings {
            self.flags.extend(setting.flags());
            if setting.is_on() {
                self.closed.extend(setting.key.conflicts.iter().cloned());
            }
            self.closed.extend([setting.key.name.clone(), setting.key.twin()]);
            self.sources.insert(setting.key.name.clone(), setting.source);
        }
    }
}

/// Removes `--switch=false` from the command line, and turns `--switch=true` into what clap
/// accepts. Also returns the names of the switches that are off.
fn take_back(
    mut arguments: impl Iterator<Item = OsString>,
    keys: &Keys,
) -> Result<(Vec<OsString>, BTreeSet<String>), Error> {
    let mut off = BTreeSet::new();
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            // The rest belongs to a command.
            kept.push(argument);
            kept.extend(arguments);
            break;
        }
        let parts = argument.to_str().and_then(|text| text.strip_prefix("--")?.split_once('='));
        let key = parts.and_then(|(name, _)| keys.find(name));
        let (Some((name, value)), Some(Kind::Switch)) = (parts, key.map(|key| key.kind)) else {
            kept.push(argument);
            continue;
        };
        if switch(name, value).map_err(|problem| Error::Settings(vec![problem]))? {
            kept.push(format!("--{name}").into());
        } else {
            off.insert(name.to_owned());
        }
    }
    Ok((kept, off))
}

/// Settings of the given file, else of the default one if it exists.
pub(super) fn read_file(
    asked_for: Option<&Path>,
    default_file: &Path,
    keys: &Keys,
    problems: &mut Vec<String>,
) -> Vec<Setting> {
    let path = asked_for.unwrap_or(default_file);
    match read_some(path) {
        Ok(bytes) if bytes.len() as u64 > LARGEST => {
            problems.push(format!("{}: larger than {} KiB", path.display(), LARGEST / 1024));
            Vec::new()
        }
        Ok(bytes) => file::read(path, &bytes, keys, problems),
        Err(error) if asked_for.is_none() && error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            problems.push(format!("cannot read {}: {error}", path.display()));
            Vec::new()
        }
    }
}

/// Adds to an error about conflicting settings where they were set, if not on the command line.
fn located(error: clap::Error, sources: &BTreeMap<String, Source>) -> Error {
    let text = plain(&error);
    let placed = with_places(text.clone(), sources);
    if placed == text { Error::Usage(error) } else { Error::Settings(vec![placed]) }
}

/// A problem, with the sources of the settings it names, unless they are on the command line.
fn with_places(text: String, sources: &BTreeMap<String, Source>) -> String {
    let involved = sources
        .iter()
        .filter(|(name, source)| **source != Source::Flag && text.contains(&format!("--{name}")));
    let from: Vec<_> =
        involved.map(|(name, source)| format!("{name} is set by {source}")).collect();
    if from.is_empty() { text } else { format!("{text}; {}", from.join(", ")) }
}

/// Reads a file, up to one byte beyond the limit.
fn read_some(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Clap's error about a value, if it is invalid.
fn wrong_value(command: &Command, setting: &Setting) -> Option<String> {
    let words = setting.flags();
    let words = std::iter::once(command.get_name()).chain(words.iter().map(String::as_str));
    let error = command.clone().try_get_matches_from(words).err()?;
    // Conflicts with other settings are checked later.
    let is_value = matches!(
        error.kind(),
        ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
            | ErrorKind::WrongNumberOfValues
            | ErrorKind::NoEquals
    );
    is_value.then(|| format!("{}: {}", setting.source, plain(&error)))
}

/// Clap's message in one line, without its hint at `--help`.
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").replace(is_deceptive, "?")
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
