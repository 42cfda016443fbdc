//! Explains an errno, a cause, a Winsock error or SIGPIPE; without a topic, lists them all.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    cli::Explain,
    explain::{Language, Topic, overview, page, unknown},
    service::exit,
};

/// Columns beyond which lines are hard to read.
const WIDEST: usize = 100;

/// Prints the explanation.
///
/// # Errors
/// When stdout takes no more, unless its reader has seen enough.
pub(crate) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    let language =
        args.lang.unwrap_or_else(|| Language::of_environment(|name| env::var(name).ok()));
    // 80 when stdout is no terminal.
    let width = textwrap::termwidth().min(WIDEST);
    let text = match args.topic.as_deref().map(Topic::find) {
        None => overview(language, width),
        Some(Ok(topic)) => page(&topic, language, width),
        Some(Err(word)) => {
            eprintln!("socktrace: {}", unknown(&word, language));
            return Ok(ExitCode::from(exit::WRONG_USAGE));
        }
    };
    print(&text).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to stdout, styled only for a terminal.
fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
