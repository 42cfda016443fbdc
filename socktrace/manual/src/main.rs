//! Generator for files shipped with the program: manual pages, shell completions, and a
//! configuration file. All are derived from the definition of the command line.

mod page;
mod sections;

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use clap_complete::Shell;
use jiff::{Timestamp, tz::TimeZone};

/// Shells with completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).context("usage: socktrace-manual DIRECTORY")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let write = |name: &str, text: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, page) in page::all(&date()?)? {
        write(&name, &page)?;
    }
    let mut command = socktrace::command();
    let name = command.get_name().to_owned();
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, &name, directory)
            .with_context(|| format!("cannot write completions for {shell}"))?;
    }
    write("socktrace.toml", socktrace::template().as_bytes())
}

/// The date on pages: today, or that of the source if `SOURCE_DATE_EPOCH` is set, as for
/// reproducible builds.
fn date() -> Result<String> {
    let time = match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .with_context(|| format!("SOURCE_DATE_EPOCH is not a time: {seconds:?}"))?,
        Err(_) => Timestamp::now(),
    };
    Ok(time.to_zoned(TimeZone::UTC).date().to_string())
}
