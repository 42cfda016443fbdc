//! The available scenarios, as listed by the guest's program.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, error::ErrorKind};
use socktrace_lab::{compile, process};
use xtask_common::{arch::Arch, scope::Scope};

use crate::cli::Cli;

/// All scenarios.
#[derive(Debug)]
pub(super) struct Catalogue {
    scenarios: Vec<ListedScenario>,
}

#[derive(Debug, PartialEq, Eq)]
struct ListedScenario {
    name: String,
    boot: String,
    scope: Scope,
}

impl Catalogue {
    /// Reads the list from the guest's program.
    pub(super) fn read() -> Result<Self> {
        // Compiled together with the daemon, like the one for guests.
        let programs = compile::programs(compile::BuildOptions::tried(Arch::OWN), true)?;
        let text = process::output(Command::new(programs.guest).arg("list"))?;
        let scenarios = text.lines().map(|line| {
            let mut words = line.split(' ');
            let (name, boot) = words.next().zip(words.next())?;
            let scope = Scope::named(words.next()?)?;
            Some(ListedScenario { name: name.to_owned(), boot: boot.to_owned(), scope })
        });
        let scenarios = scenarios.collect::<Option<_>>().context("no list of scenarios")?;
        Ok(Self { scenarios })
    }

    /// Reports names of scenarios that do not exist, in the way clap reports wrong arguments.
    pub(super) fn check(&self, names: &[String]) {
        let exists = |name: &&String| self.scenarios.iter().any(|known| known.name == **name);
        let Some(unknown) = names.iter().find(|name| !exists(name)) else { return };
        let choices: Vec<_> = self.scenarios.iter().map(|known| known.name.as_str()).collect();
        let choices = choices.join("\n  ");
        Cli::command()
            .error(
                ErrorKind::InvalidValue,
                format!("there is no scenario '{unknown}'. The scenarios are:\n  {choices}"),
            )
            .exit();
    }

    /// Whether a boot has scenarios to run: any of these names, or any at all if no names are
    /// given.
    pub(super) fn has(&self, boot: &str, scope: Scope, names: &[String]) -> bool {
        self.scenarios
            .iter()
            .filter(|scenario| scenario.boot == boot && scenario.scope <= scope)
            .any(|scenario| names.is_empty() || names.contains(&scenario.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_without_scenarios_are_known() {
        use Scope::{Full, Quick, Whole};
        let scenario = |name: &str, boot: &str, scope| ListedScenario {
            name: name.to_owned(),
            boot: boot.to_owned(),
            scope,
        };
        let scenarios = vec![scenario("a", "smp", Quick), scenario("b", "scrape", Whole)];
        let catalogue = Catalogue { scenarios };
        let names = ["a".to_owned()];
        assert!(catalogue.has("smp", Quick, &[]) && catalogue.has("smp", Whole, &names));
        assert!(catalogue.has("scrape", Whole, &[]) && catalogue.has("scrape", Full, &[]));
        assert!(!catalogue.has("scrape", Quick, &[]) && !catalogue.has("scrape", Full, &names));
    }
}
