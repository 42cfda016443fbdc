//! Cargo features that a build may lack, and the options that need them.

use super::{Cli, Command};

/// A requested option that this build lacks, in a sentence for the user.
pub(crate) fn missing(cli: &Cli) -> Option<String> {
    let top = match &cli.command {
        Some(Command::Top(top)) => Some(top),
        _ => None,
    };
    let resolves = cli.resolve || top.is_some_and(|top| top.resolve);
    let asked = [
        ("--resolve", "resolve", resolves, cfg!(feature = "resolve")),
        ("--otlp", "otlp", cli.otlp.is_on(), cfg!(feature = "otlp")),
        ("top", "top", top.is_some(), cfg!(feature = "top")),
    ];
    let missing = asked.into_iter().find(|(_, _, is_asked, is_built)| *is_asked && !is_built);
    missing.map(|(what, feature, ..)| {
        format!(
            "{what} needs the feature `{feature}` of cargo, which this socktrace is built without"
        )
    })
}
