//! Manual pages: one for the program, and one for each subcommand.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::sections::{self, Section};

/// All pages, with their file names.
///
/// # Errors
/// When memory runs out.
pub(crate) fn all(date: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = socktrace::command().disable_help_subcommand(true);
    command.build();
    let source = format!("{} {}", command.get_name(), command.get_version().unwrap_or_default());
    let page = |command: &Command, sections: &[Section]| page(command, sections, date, &source);
    let mut pages = vec![page(&command, &sections::of_program(&command))?];
    for subcommand in command.get_subcommands() {
        pages.push(page(subcommand, &sections::of_subcommand(subcommand))?);
    }
    Ok(pages)
}

/// Generates a page. Clap's extra section is replaced by sections with the customary names.
fn page(
    command: &Command,
    sections: &[Section],
    date: &str,
    source: &str,
) -> io::Result<(String, Vec<u8>)> {
    // A list of all options in the synopsis would be long, and they follow anyway.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command.clone().override_usage(usage))
        .manual("User Commands")
        .date(date)
        .source(source);
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    for section in sections {
        roff(section).to_writer(&mut out)?;
    }
    Ok((man.get_filename(), out))
}

fn roff(section: &Section) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [section.heading]);
    for paragraph in &section.paragraphs {
        roff.control("PP", []);
        roff.text([roman(paragraph.as_str())]);
    }
    for (term, text) in &section.terms {
        roff.control("TP", []);
        roff.text([bold(term.as_str())]);
        roff.text([roman(text.as_str())]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Vec<(String, String)> {
        let pages = all("2026-11-26").expect("written");
        let text = |page| String::from_utf8(page).expect("text").replace("\\-", "-");
        pages.into_iter().map(|(name, page)| (name, text(page))).collect()
    }

    #[test]
    fn there_is_a_page_of_each_command() {
        let names: Vec<_> = pages().into_iter().map(|(name, _)| name).collect();
        let commands = ["", "-explain", "-doctor", "-history", "-replay", "-top"];
        assert_eq!(names, commands.map(|command| format!("socktrace{command}.1")));
    }

    #[test]
    fn pages_mention_every_option() {
        let command = socktrace::command();
        let commands = std::iter::once(&command).chain(command.get_subcommands());
        for (command, (name, page)) in commands.zip(pages()) {
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("\\fB--{option}\\fR")), "{name}: --{option}");
            }
        }
    }

    #[test]
    fn pages_have_the_sections_that_people_look_for() {
        let headings =
            ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"];
        for (name, page) in pages() {
            let found: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
            for heading in headings {
                assert!(
                    found.iter().any(|it| it.trim_matches('"') == heading),
                    "{name}: {found:?}"
                );
            }
        }
    }
}
