//! Pages: the list of topics, and the explanation of a single topic.

use std::io;

use anstyle::Style;
use socktrace_diagnosis::{Cause, Errnos, Group};
use textwrap::core::display_width;

use super::{
    Language, Topic, Unknown,
    language::Words,
    layout::{pad, paragraph},
    numbers::{self, ERRNOS, Errno, FAMILIES, GENERIC},
    texts::{Block, Text},
    topic::{EVENTS, SIGPIPE},
    winsock::{WINSOCK, Winsock},
};

/// Indentation below a heading.
const INDENT: &str = "  ";

/// Width of the name column: the longest name is `connect_retried_after_failure`.
const NAME: usize = 30;

/// Index of the section with advice.
const WHAT_TO_DO: usize = 3;

/// A page under construction, in a language and for a width.
struct Page {
    out: String,
    language: Language,
    width: usize,
}

/// Every topic, one per line, by group.
pub(crate) fn overview(language: Language, width: usize) -> String {
    let mut page = Page { out: String::new(), language, width };
    let words = language.words();
    for (group, heading) in Group::ALL.into_iter().zip(words.groups) {
        page.heading(heading);
        for cause in Cause::in_group(group) {
            page.entry(cause.id(), cause.id());
        }
    }
    page.heading(words.errnos);
    for errno in ERRNOS {
        page.entry(&format!("{:4} {}", errno.here, errno.name), errno.name);
    }
    page.heading(words.winsock);
    for winsock in WINSOCK {
        page.entry(&format!("{} {}", winsock.code, winsock.name), winsock.name);
    }
    page.heading(words.signals);
    page.entry(SIGPIPE, SIGPIPE);
    page.heading(words.events);
    for event in EVENTS {
        page.entry(event, event);
    }
    page.out.push('\n');
    paragraph(&mut page.out, words.how_to_ask, "", width);
    page.out
}

/// The message for a word that is not a topic.
pub(crate) fn unknown(unknown: &Unknown, language: Language) -> String {
    let Words { unknown: nothing, did_you_mean, see_list, comma, .. } = language.words();
    let mut text = format!("{nothing}\"{}\"\n", unknown.word.escape_debug());
    if !unknown.near.is_empty() {
        text.extend([did_you_mean, &*unknown.near.join(comma), "\n"]);
    }
    text + see_list
}

/// The advice on a topic.
pub(crate) fn advice(topic: &Topic, language: Language) -> String {
    let name = match topic {
        Topic::Cause(cause) => cause.id(),
        Topic::Errno(errno) => errno.name,
        Topic::Winsock(winsock) => winsock.name,
        Topic::Sigpipe => SIGPIPE,
        Topic::Event(event) => event,
    };
    let mut headings = 0;
    let section = Text::of(name, language).blocks().skip_while(move |block| {
        headings += usize::from(matches!(block, Block::Heading(_)));
        headings < WHAT_TO_DO
    });
    let paragraphs = section.skip(1).map_while(|block| match block {
        Block::Paragraph(text) => Some(text),
        Block::Heading(_) | Block::Command(_) => None,
    });
    paragraphs.collect::<Vec<_>>().join(" ")
}

/// The complete page about a topic.
pub(crate) fn page(topic: &Topic, language: Language, width: usize) -> String {
    let mut page = Page { out: String::new(), language, width };
    match topic {
        Topic::Cause(cause) => page.cause(*cause),
        Topic::Errno(errno) => page.errno(errno),
        Topic::Winsock(winsock) => page.winsock(winsock),
        Topic::Sigpipe => {
            page.title(SIGPIPE, SIGPIPE);
            page.text(SIGPIPE);
        }
        Topic::Event(event) => {
            page.title(event, event);
            page.text(event);
        }
    }
    page.out
}

impl Page {
    fn cause(&mut self, cause: Cause) {
        let words = self.words();
        self.title(cause.id(), cause.id());
        let errnos = match cause.row().errnos {
            Errnos::Any => words.any_errno.to_owned(),
            Errnos::None => words.no_errno.to_owned(),
            Errnos::Of(errnos) => errnos
                .iter()
                .filter_map(|errno| numbers::by_number(errno.number().into()))
                .map(|errno| format!("{} ({})", errno.name, errno.here))
                .collect::<Vec<_>>()
                .join(words.comma),
        };
        self.facts(&[(words.errno, errnos)]);
        self.text(cause.id());
    }

    fn errno(&mut self, errno: &Errno) {
        let words = self.words();
        self.title(errno.name, errno.name);
        self.facts(&[
            (words.number_here, errno.here.to_string()),
            (words.message, message(errno.here)),
            (words.winsock, twins(errno.name, words)),
        ]);
        self.text(errno.name);

        self.heading(words.causes);
        let listed = socktrace_diagnosis::Errno::of(errno.here);
        let mut causes =
            Cause::by_group().filter(|cause| cause.row().errnos.contain(listed)).peekable();
        if causes.peek().is_none() {
            self.line(words.no_causes);
        }
        for cause in causes {
            self.entry(cause.id(), cause.id());
        }

        self.heading(words.numbers);
        for (family, number) in FAMILIES.iter().zip(errno.by_family) {
            let generic = *family == FAMILIES[0];
            let name = if generic { words.generic } else { family };
            let note = if generic { format!("   ({GENERIC})") } else { String::new() };
            self.line(&format!("{}{number:4}{note}", pad(name, 9)));
        }
    }

    fn winsock(&mut self, winsock: &Winsock) {
        let words = self.words();
        self.title(&format!("{} {}", winsock.code, winsock.name), winsock.name);
        self.heading(words.on_windows);
        self.text(winsock.name);
        self.heading(words.on_linux);
        let errnos: Vec<_> =
            winsock.linux.iter().filter_map(|name| numbers::by_name(name)).collect();
        for errno in &errnos {
            self.entry(&format!("{:4} {}", errno.here, errno.name), errno.name);
        }
        // The text is shown for the first errno only.
        if let Some(errno) = errnos.first() {
            self.out.push('\n');
            self.errno(errno);
        }
    }

    const fn words(&self) -> &'static Words {
        self.language.words()
    }

    fn title(&mut self, name: &str, topic: &str) {
        let summary = Text::of(topic, self.language).summary;
        let colon = self.words().colon;
        self.out.extend([&*bold(name), colon, summary, "\n"]);
    }

    /// Writes names and values in two columns.
    fn facts(&mut self, facts: &[(&str, String)]) {
        self.out.push('\n');
        let columns = facts.iter().map(|(name, _)| display_width(name)).max().unwrap_or(0) + 2;
        for (name, value) in facts {
            let start = self.out.len();
            let indent = " ".repeat(INDENT.len() + columns);
            paragraph(&mut self.out, value, &indent, self.width);
            self.out.replace_range(
                start..start + indent.len(),
                &format!("{INDENT}{}", pad(name, columns)),
            );
        }
    }

    /// Writes the text about a topic, without its summary.
    fn text(&mut self, topic: &str) {
        for block in Text::of(topic, self.language).blocks() {
            match block {
                Block::Heading(heading) => self.heading(heading),
                Block::Paragraph(text) => paragraph(&mut self.out, text, INDENT, self.width),
                Block::Command(command) => self.line(&format!("{INDENT}{command}")),
            }
        }
    }

    fn heading(&mut self, heading: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.extend([&*bold(heading), "\n"]);
    }

    /// Writes a list entry: a name and the summary of its topic.
    fn entry(&mut self, name: &str, topic: &str) {
        let summary = Text::of(topic, self.language).summary;
        self.line(&format!("{} {summary}", pad(name, NAME)));
    }

    fn line(&mut self, line: &str) {
        self.out.extend([INDENT, line, "\n"]);
    }
}

/// The text in bold; the output stream strips the styling if necessary.
fn bold(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// The C library's message for an errno.
fn message(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    let number = format!(" (os error {number})");
    text.strip_suffix(&number).map(ToOwned::to_owned).unwrap_or(text)
}

/// Winsock codes and names that correspond to an errno.
fn twins(errno: &str, words: &Words) -> String {
    let name = |winsock: &Winsock| format!("{} {}", winsock.code, winsock.name);
    if let Some(twin) = WINSOCK.iter().find(|winsock| winsock.is_twin_of(errno)) {
        return name(twin);
    }
    let nearest: Vec<_> =
        WINSOCK.iter().filter(|winsock| winsock.linux.contains(&errno)).map(name).collect();
    if nearest.is_empty() {
        words.no_twin.to_owned()
    } else {
        format!("{}{}{}", words.nearest_twins, words.colon, nearest.join(words.comma))
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    /// The page of a topic without styling, as in a pipe.
    fn plain(word: &str, language: Language) -> String {
        let topic = Topic::find(word).expect(word);
        anstream::adapter::strip_str(&page(&topic, language, 80)).to_string()
    }

    #[test]
    fn an_errno_is_shown_with_all_that_is_known() {
        let page = plain("ECONNABORTED", Language::En);
        for part in [
            "ECONNABORTED: ",
            &format!("Number here  {}\n", libc::ECONNABORTED),
            "Message      Software caused connection abort\n",
            "Winsock      10053 WSAECONNABORTED\n",
            "\nWhat happened\n",
            "\nWhat Linux really does\n",
            "\nWhat to do\n",
            "\nHow to confirm\n",
            "\nCauses\n  connect_retried_after_failure ",
            "  aborted_locally ",
            "\nNumbers by architecture\n  generic   103   (x86,",
            "\n  alpha      53\n",
            "\n  mips      130\n",
            "\n  parisc    231\n",
            "\n  sparc      53\n",
        ] {
            assert!(page.contains(part), "{part:?}\n{page}");
        }
    }

    #[test]
    fn there_is_advice_about_every_cause() {
        for cause in Cause::ALL {
            let page = plain(cause.id(), Language::En);
            let advice = advice(&Topic::Cause(*cause), Language::En);
            let begin = advice.split(' ').next().unwrap_or_default();
            assert!(page.contains(&format!("\nWhat to do\n  {begin}")), "{cause}: {advice}");
        }
        let advice = advice(&Topic::Event("reset_sent"), Language::Zh);
        assert!(!advice.is_empty() && !advice.is_ascii());
    }

    #[test]
    fn what_windows_lacks_is_said() {
        assert!(
            plain("EPIPE", Language::En)
                .contains("no direct counterpart; nearest: 10053 WSAECONNABORTED, 10054")
        );
        assert!(plain("EBADMSG", Language::En).contains("Winsock      no twin\n"));
        assert!(plain("EAGAIN", Language::En).contains("Winsock      10035 WSAEWOULDBLOCK\n"));
    }

    #[test]
    fn the_errnos_of_causes_are_topics() {
        for cause in Cause::ALL {
            if let Errnos::Of(errnos) = cause.row().errnos {
                assert!(!errnos.is_empty(), "{cause}");
                for errno in errnos {
                    let topic = numbers::by_number(errno.number().into()).expect("a topic");
                    assert_eq!(topic.name, errno.name(), "{cause}");
                }
            }
        }
    }

    #[test]
    fn a_cause_is_shown_with_its_errnos() {
        let page = plain("reset_by_peer", Language::Zh);
        assert!(page.contains(&format!("ECONNRESET ({})", libc::ECONNRESET)), "{page}");
        assert!(page.contains("\n发生了什么\n") && page.contains("\n如何确认\n"), "{page}");
        assert!(plain("premature_eof", Language::En).contains("Errno  none\n"));
        assert!(plain("other", Language::En).contains("Errno  any\n"));
    }

    #[test]
    fn a_winsock_error_leads_to_the_errno() {
        let page = plain("10054", Language::En);
        assert!(page.starts_with("10054 WSAECONNRESET: "), "{page}");
        assert!(page.contains("\nOn Linux\n") && page.contains("\nECONNRESET: "), "{page}");
    }

    #[test]
    fn text_keeps_to_its_width() {
        for language in [Language::En, Language::Zh] {
            let ids = Cause::ALL.iter().map(|cause| cause.id());
            for word in
                ids.chain(ERRNOS.iter().map(|errno| errno.name)).chain([SIGPIPE]).chain(EVENTS)
            {
                let page = plain(word, language);
                // The title, commands and lists of topics are not wrapped.
                let text = page.lines().skip(1).filter(|line| {
                    let start = line.trim_start().split(' ').next().unwrap_or_default();
                    !line.starts_with("    ") && Topic::find(start).is_err()
                });
                for line in text {
                    assert!(display_width(line) <= 80, "{word}: {line}");
                }
            }
        }
    }

    #[test]
    fn the_overview_lists_everything_once() {
        for language in [Language::En, Language::Zh] {
            let list = anstream::adapter::strip_str(&overview(language, 80)).to_string();
            let topics: Vec<_> = list
                .lines()
                .filter_map(|line| Topic::find(line.split_whitespace().next()?).ok())
                .collect();
            assert_eq!(
                topics.len(),
                Cause::ALL.len() + ERRNOS.len() + WINSOCK.len() + 1 + EVENTS.len()
            );
            assert!(list.lines().all(|line| display_width(line) <= 100), "{list}");
        }
    }
}
