//! YAML values with line numbers, so that each problem can be located.

use std::fmt::{self, Display, Formatter};

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Parser, ScalarStyle};
use socktrace_similar::nearest;

/// Minimum length of a word to guess corrections for; shorter ones resemble too many others.
const SHORTEST: usize = 3;

/// A problem and its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    line: usize,
    text: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for Problem {}

/// A value.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(&'a MarkedYaml<'a>);

/// A word of the file: a key, or a value with a fixed meaning.
pub(super) struct Word {
    pub(super) text: String,
    line: usize,
}

/// Parses a file and passes its value to a function; an empty file has no value.
pub(super) fn read<T>(
    text: &str,
    use_it: impl FnOnce(Option<Node<'_>>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    // Keep scalars as written: a user's name can look like a number.
    loader.early_parse(false);
    let scanned = Parser::new_from_str(text).load(&mut loader, false);
    let error = scanned.err().or_else(|| loader.error().cloned());
    if let Some(error) = error {
        return Err(Problem { line: error.marker().line(), text: error.info().to_owned() });
    }
    let documents = loader.into_documents();
    use_it(documents.first().map(Node))
}

impl<'a> Node<'a> {
    /// A problem with this value.
    pub(super) fn problem(self, text: impl Into<String>) -> Problem {
        Problem { line: self.line(), text: text.into() }
    }

    fn line(self) -> usize {
        self.0.span.start.line()
    }

    /// Keys and values of a mapping; none if the value is empty.
    pub(super) fn mapping(self) -> Result<Vec<(Word, Node<'a>)>, Problem> {
        match &self.0.data {
            YamlData::Mapping(mapping) => {
                mapping.iter().map(|(key, value)| Ok((Node(key).word()?, Node(value)))).collect()
            }
            _ if self.is_null() => Ok(Vec::new()),
            _ => Err(self.problem("expected keys with values here")),
        }
    }

    /// Elements of a list; none if the value is empty.
    pub(super) fn list(self) -> Result<Vec<Node<'a>>, Problem> {
        match &self.0.data {
            YamlData::Sequence(sequence) => Ok(sequence.iter().map(Node).collect()),
            _ if self.is_null() => Ok(Vec::new()),
            _ => Err(self.problem("expected a list here")),
        }
    }

    /// A scalar as written; empty if omitted.
    pub(super) fn text(self) -> Result<String, Problem> {
        match &self.0.data {
            _ if self.is_null() => Ok(String::new()),
            YamlData::Representation(text, ..) => Ok(text.clone().into_owned()),
            _ => Err(self.problem("expected a single value here")),
        }
    }

    /// A scalar with its line.
    pub(super) fn word(self) -> Result<Word, Problem> {
        Ok(Word { text: self.text()?, line: self.line() })
    }

    /// A boolean, in all the spellings of YAML 1.1.
    pub(super) fn boolean(self) -> Result<bool, Problem> {
        let word = self.word()?;
        match word.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(word.unknown("value", &["true", "false"])),
        }
    }

    fn is_null(self) -> bool {
        matches!(
            &self.0.data,
            YamlData::Representation(text, ScalarStyle::Plain, _)
                if matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL")
        )
    }
}

impl Word {
    /// The word's meaning, among the accepted words.
    pub(super) fn choose<'a, T>(
        &self,
        kind: &str,
        choices: &'a [(&str, T)],
    ) -> Result<&'a T, Problem> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let found = choices.iter().find(|(name, _)| *name == self.text);
        found.map(|(_, meaning)| meaning).ok_or_else(|| self.unknown(kind, &names))
    }

    /// A problem with this word.
    pub(super) fn problem(&self, text: impl Into<String>) -> Problem {
        Problem { line: self.line, text: text.into() }
    }

    /// A problem that lists the valid words.
    pub(super) fn unknown(&self, kind: &str, valid: &[&str]) -> Problem {
        let nearest = nearest(&self.text, valid.iter().copied());
        let nearest = nearest.filter(|_| self.text.len() >= SHORTEST);
        let guess = nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"));
        let choices = valid.join(", ");
        self.problem(format!("unknown {kind} {:?}{guess} (valid: {choices})", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, of: impl FnOnce(Node<'_>) -> Result<(), Problem>) -> String {
        read(text, |node| of(node.expect("a value"))).expect_err(text).to_string()
    }

    #[test]
    fn scalars_are_as_written() {
        let keys = read("007: 1_000\n~x: \"null\"\nz: ~\n", |node| {
            let pairs = node.expect("a value").mapping()?;
            pairs.iter().map(|(key, value)| Ok((key.text.clone(), value.text()?))).collect()
        });
        let keys: Vec<(String, String)> = keys.expect("sound");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(keys, [pair("007", "1_000"), pair("~x", "null"), pair("z", "")]);
    }

    #[test]
    fn problems_name_their_line() {
        assert_eq!(
            problem("a: 1\nb:\n  - x\n", |node| node.mapping()?[1].1.text().map(drop)),
            "line 3: expected a single value here"
        );
        assert_eq!(
            problem("a: 1\nb: maybe\n", |node| node.mapping()?[1].1.boolean().map(drop)),
            "line 2: unknown value \"maybe\" (valid: true, false)"
        );
        assert_eq!(
            problem("cert_fiel: x\n", |node| Err(node.mapping()?[0]
                .0
                .unknown("key", &["key_file", "cert_file"]))),
            "line 1: unknown key \"cert_fiel\"; did you mean cert_file? (valid: key_file, cert_file)"
        );
        assert!(problem("a: 1\na: 2\n", |_| Ok(())).starts_with("line 2: "));
        assert!(problem("a: [1\n", |_| Ok(())).starts_with("line 2: "));
    }

    #[test]
    fn what_is_left_out_is_empty() {
        assert!(read("# nothing\n", |node| Ok(node.is_none())).expect("sound"));
        let empty = read("a:\n", |node| {
            let value = node.expect("a value").mapping()?[0].1;
            Ok((value.mapping()?.len(), value.list()?.len(), value.text()?))
        });
        assert_eq!(empty, Ok((0, 0, String::new())));
    }
}
