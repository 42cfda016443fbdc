//! The texts, by language and topic.
//!
//! The files use a small subset of Markdown. `# TOPIC` starts a topic; the first line after it is
//! the summary. `## ` starts a section, four spaces a command. Any other line is a paragraph.

use super::Language;

const ENGLISH: &[&str] = &[
    include_str!("texts/en/connect.md"),
    include_str!("texts/en/accept.md"),
    include_str!("texts/en/reset.md"),
    include_str!("texts/en/write.md"),
    include_str!("texts/en/timeout.md"),
    include_str!("texts/en/datagram.md"),
    include_str!("texts/en/calls.md"),
    include_str!("texts/en/errno_connection.md"),
    include_str!("texts/en/errno_network.md"),
    include_str!("texts/en/errno_address.md"),
    include_str!("texts/en/errno_call.md"),
    include_str!("texts/en/errno_peer.md"),
    include_str!("texts/en/errno_option.md"),
    include_str!("texts/en/errno_progress.md"),
    include_str!("texts/en/winsock.md"),
    include_str!("texts/en/sigpipe.md"),
    include_str!("texts/en/undelivered.md"),
    include_str!("texts/en/reset_sent.md"),
];

const CHINESE: &[&str] = &[
    include_str!("texts/zh/connect.md"),
    include_str!("texts/zh/accept.md"),
    include_str!("texts/zh/reset.md"),
    include_str!("texts/zh/write.md"),
    include_str!("texts/zh/timeout.md"),
    include_str!("texts/zh/datagram.md"),
    include_str!("texts/zh/calls.md"),
    include_str!("texts/zh/errno_connection.md"),
    include_str!("texts/zh/errno_network.md"),
    include_str!("texts/zh/errno_address.md"),
    include_str!("texts/zh/errno_call.md"),
    include_str!("texts/zh/errno_peer.md"),
    include_str!("texts/zh/errno_option.md"),
    include_str!("texts/zh/errno_progress.md"),
    include_str!("texts/zh/winsock.md"),
    include_str!("texts/zh/sigpipe.md"),
    include_str!("texts/zh/undelivered.md"),
    include_str!("texts/zh/reset_sent.md"),
];

/// Text about a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    /// One line.
    pub(super) summary: &'static str,
    body: &'static str,
}

/// A block of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// The heading of a section.
    Heading(&'static str),
    /// A paragraph, which is wrapped.
    Paragraph(&'static str),
    /// A command, shown verbatim.
    Command(&'static str),
}

impl Text {
    /// The text about a topic; empty if missing, which a test rules out.
    pub(super) fn of(topic: &str, language: Language) -> Self {
        topics(language).find(|(id, _)| *id == topic).map_or_else(Self::default, |(_, text)| text)
    }

    /// The blocks after the summary.
    pub(super) fn blocks(self) -> impl Iterator<Item = Block> {
        self.body.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            if let Some(heading) = line.strip_prefix("## ") {
                Block::Heading(heading.trim())
            } else if let Some(command) = line.strip_prefix("    ") {
                Block::Command(command.trim_end())
            } else {
                Block::Paragraph(line.trim())
            }
        })
    }
}

/// Every topic of a language, with its text.
fn topics(language: Language) -> impl Iterator<Item = (&'static str, Text)> {
    let files = match language {
        Language::En => ENGLISH,
        Language::Zh => CHINESE,
    };
    files
        .iter()
        .flat_map(|file| file.strip_prefix("# ").unwrap_or(file).split("\n# "))
        .filter_map(|topic| topic.split_once('\n'))
        .map(|(id, text)| {
            let (summary, body) = text.trim_start().split_once('\n').unwrap_or((text.trim(), ""));
            (id.trim(), Text { summary, body })
        })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use socktrace_diagnosis::Cause;

    use super::*;
    use crate::explain::{
        numbers::ERRNOS,
        topic::{EVENTS, SIGPIPE},
        winsock::WINSOCK,
    };

    const BOTH: [Language; 2] = [Language::En, Language::Zh];

    /// Sections that every cause, every errno and SIGPIPE must have, in order.
    const fn sections(language: Language) -> [&'static str; 4] {
        match language {
            Language::En => {
                ["What happened", "What Linux really does", "What to do", "How to confirm"]
            }
            Language::Zh => ["发生了什么", "Linux 的实际行为", "程序该怎么做", "如何确认"],
        }
    }

    fn with_sections() -> impl Iterator<Item = &'static str> {
        let causes = Cause::ALL.iter().map(|cause| cause.id());
        causes.chain(ERRNOS.iter().map(|errno| errno.name)).chain([SIGPIPE]).chain(EVENTS)
    }

    #[test]
    fn every_topic_has_every_section_in_both_languages() {
        for language in BOTH {
            let sections = sections(language);
            for topic in with_sections() {
                let text = Text::of(topic, language);
                assert!(!text.summary.is_empty(), "{language:?} {topic}: no text");
                let blocks: Vec<_> = text.blocks().collect();
                let headings: Vec<_> = blocks
                    .iter()
                    .filter_map(|block| match block {
                        Block::Heading(heading) => Some(*heading),
                        _ => None,
                    })
                    .collect();
                assert_eq!(headings, sections, "{language:?} {topic}");
                // A heading must be followed by a paragraph.
                let mut parts = blocks.split(|block| matches!(block, Block::Heading(_)));
                assert_eq!(parts.next(), Some(&[][..]), "{language:?} {topic}");
                for (part, section) in parts.zip(sections) {
                    assert!(
                        matches!(part.first(), Some(Block::Paragraph(_))),
                        "{language:?} {topic}: {section}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_winsock_error_has_a_paragraph_in_both_languages() {
        for language in BOTH {
            for winsock in WINSOCK {
                let text = Text::of(winsock.name, language);
                assert!(!text.summary.is_empty(), "{language:?} {}", winsock.name);
                assert!(
                    matches!(text.blocks().collect::<Vec<_>>()[..], [Block::Paragraph(_)]),
                    "{language:?} {}",
                    winsock.name
                );
            }
        }
    }

    #[test]
    fn every_text_is_that_of_a_topic_and_the_only_one() {
        let known: BTreeSet<_> =
            with_sections().chain(WINSOCK.iter().map(|winsock| winsock.name)).collect();
        for language in BOTH {
            let mut seen = BTreeSet::new();
            for (topic, _) in topics(language) {
                assert!(known.contains(topic), "{language:?} {topic:?} is no topic");
                assert!(seen.insert(topic), "{language:?} {topic} is written twice");
            }
            assert_eq!(seen, known, "{language:?}");
        }
    }

    #[test]
    fn both_languages_advise_the_same_commands() {
        let commands = |language| -> HashMap<_, Vec<_>> {
            topics(language)
                .map(|(topic, text)| {
                    let commands = text.blocks().filter(|part| matches!(part, Block::Command(_)));
                    (topic, commands.collect())
                })
                .collect()
        };
        let (english, mut chinese) = (commands(Language::En), commands(Language::Zh));
        for (topic, commands) in english {
            assert_eq!(chinese.remove(topic), Some(commands), "{topic}");
        }
    }

    #[test]
    fn summaries_fit_in_the_list() {
        for language in BOTH {
            for (topic, text) in topics(language) {
                let width = textwrap::core::display_width(text.summary);
                assert!(width <= 66, "{language:?} {topic}: {width} columns");
                assert!(!text.summary.ends_with(['.', '。']), "{language:?} {topic}");
            }
        }
    }

    #[test]
    fn english_is_ascii_and_chinese_is_punctuated_as_chinese() {
        for (topic, text) in topics(Language::En) {
            assert!(text.summary.is_ascii() && text.body.is_ascii(), "{topic}");
        }
        let is_chinese =
            |c: Option<char>| c.is_some_and(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for (topic, text) in topics(Language::Zh) {
            for line in text.body.lines().chain([text.summary]) {
                let chars: Vec<_> = line.chars().collect();
                for (at, c) in chars.iter().enumerate().filter(|(_, c)| ",;:!?".contains(**c)) {
                    let before = at.checked_sub(1).and_then(|before| chars.get(before));
                    let after = chars.get(at + 1);
                    assert!(
                        !is_chinese(before.copied()) && !is_chinese(after.copied()),
                        "{topic}: {c:?} in {line}"
                    );
                }
            }
        }
    }
}
