//! Parses filters from a line of text, split as a shell would.

use std::borrow::Cow;

use clap::{CommandFactory as _, Parser};
use socktrace_similar::nearest;

use super::Filters;

/// A command line of filters alone.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    filters: Filters,
}

/// Parses options; the `--` before a name may be missing.
///
/// # Errors
/// What is wrong with them, in one line.
pub(super) fn parse(text: &str) -> Result<Filters, String> {
    let command = Words::command();
    let names: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    let mut words = split(text)?.into_iter();
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        let word = word.strip_prefix("--").unwrap_or(&word);
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        if !names.contains(&name) {
            return Err(unknown(name, &names));
        }
        let value =
            value.or_else(|| words.next()).ok_or_else(|| format!("{name} needs a value"))?;
        arguments.push(format!("--{name}={value}"));
    }
    let words = Words::try_parse_from(arguments).map_err(|error| in_a_line(&error))?;
    Ok(words.filters)
}

fn unknown(name: &str, names: &[&str]) -> String {
    if let Some(near) = nearest(name, names.iter().copied()) {
        return format!("there is no filter {name:?}; did you mean {near}?");
    }
    let names: Vec<_> = names.iter().copied().filter(|name| !name.starts_with("not-")).collect();
    format!("there is no filter {name:?}; there are {}, and not- before each", names.join(", "))
}

/// Clap's message in one line, without its usage hint.
fn in_a_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more"));
    let words: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// Splits a line into words: quotes and `\` keep text together as in a shell.
///
/// # Errors
/// When a quote is not closed.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        None => return Err(format!("{c} has no end")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match rest.next() {
                            Some(kept @ ('"' | '\\' | '$' | '`')) => word.push(kept),
                            kept => word.extend(['\\'].into_iter().chain(kept)),
                        },
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(rest.next()),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Quotes a word for a shell, if it needs quotes.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_read_with_and_without_dashes() {
        for text in [
            "--unit nginx --not-port 443 --comm 'a b'",
            "unit nginx not-port 443 comm 'a b'",
            r#"unit=nginx  --not-port=443 comm="a b""#,
            r"--unit=nginx --port '!443' comm a\ b",
            "port \\!443 unit nginx\tcomm 'a'\" b\"",
        ] {
            let filters = Filters::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filters.to_string(), "--comm 'a b' --unit nginx --not-port 443", "{text}");
        }
        assert!(!Filters::parse("  ").expect("nothing").are_given());
    }

    #[test]
    fn what_is_wrong_is_said_in_a_line() {
        for (text, words) in [
            ("unti nginx", "did you mean unit?"),
            ("zebra", "cgroup, netns"),
            ("--all", "no filter"),
            ("unit", "needs a value"),
            ("comm 'a", "' has no end"),
            ("port http", "1 to 65535"),
            ("cause reset_by_pear", "did you mean reset_by_peer"),
            ("not-port !443", "negate --not-"),
        ] {
            let error = Filters::parse(text).expect_err(text);
            assert!(error.contains(words) && !error.contains('\n'), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_says_the_same(comm in ".{1,15}", name in r"[a-z*\\'! \[-]{1,12}") {
            let text = format!("--comm {} --not-comm {}", quoted(&name), quoted(&comm));
            if let Ok(filters) = Filters::parse(&text) {
                let again = Filters::parse(&filters.to_string()).expect("the same");
                prop_assert_eq!(again.to_string(), filters.to_string());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _result = Filters::parse(&text);
        }
    }
}
