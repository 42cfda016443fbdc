//! Explanations of an errno, a cause, a Winsock error or SIGPIPE; without a topic, a list of all.

use std::{env, process::ExitCode};

use anyhow::Context as _;

use super::{print, say};
use crate::{
    cli::Explain,
    explain::{Language, Topic, overview, page, unknown},
    service::exit,
};

/// Width beyond which lines are hard to read.
const WIDEST: usize = 100;

/// Prints the explanation.
///
/// # Errors
/// When stdout cannot be written, unless its reader has seen enough.
pub(crate) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    let language =
        args.lang.unwrap_or_else(|| Language::of_environment(|name| env::var(name).ok()));
    // 80 when stdout is not a terminal.
    let width = textwrap::termwidth().min(WIDEST);
    let text = match args.topic.as_deref().map(Topic::find) {
        None => overview(language, width),
        Some(Ok(topic)) => page(&topic, language, width),
        Some(Err(word)) => {
            say(&unknown(&word, language));
            return Ok(ExitCode::from(exit::WRONG_USAGE));
        }
    };
    print(text.as_bytes()).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
