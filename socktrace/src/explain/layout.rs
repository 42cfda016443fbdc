//! Line wrapping, for languages with and without spaces between words.

use textwrap::{Options, WordSeparator, WordSplitter, core::Word};

/// Appends a paragraph, indented and wrapped.
pub(super) fn paragraph(out: &mut String, text: &str, indent: &str, width: usize) {
    let options = Options::new(width)
        .initial_indent(indent)
        .subsequent_indent(indent)
        .word_separator(WordSeparator::Custom(words))
        .word_splitter(WordSplitter::NoHyphenation)
        // A long word, such as a command in a sentence, is not broken.
        .break_words(false);
    for line in textwrap::wrap(text, options) {
        out.push_str(&line);
        out.push('\n');
    }
}

/// Pads a word with spaces to a number of columns.
pub(super) fn pad(word: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(textwrap::core::display_width(word));
    format!("{word}{}", " ".repeat(missing))
}

/// Pieces of a line, between which it may be wrapped.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut rest = line;
    Box::new(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = rest.chars();
        let end = rest
            .char_indices()
            .zip(next.clone().skip(1))
            .find(|((_, before), after)| may_break(*before, *after))
            .map_or(rest.len(), |((at, before), _)| at + before.len_utf8());
        let (word, remaining) = rest.split_at(end);
        rest = remaining;
        Some(Word::from(word))
    }))
}

/// Whether a line may be broken between two characters.
const fn may_break(before: char, after: char) -> bool {
    if before == ' ' {
        return after != ' ';
    }
    after != ' '
        && (is_ideographic(before) || is_ideographic(after))
        && !never_starts(after)
        && !never_ends(before)
}

/// Whether a character belongs to a script written without spaces, or to its punctuation.
const fn is_ideographic(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}')
}

const fn never_starts(c: char) -> bool {
    matches!(
        c,
        '，' | '。'
            | '、'
            | '；'
            | '：'
            | '！'
            | '？'
            | '）'
            | '》'
            | '」'
            | '』'
            | '”'
            | '’'
            | ','
            | '.'
            | ';'
            | ':'
            | '!'
            | '?'
            | ')'
            | ']'
            | '%'
    )
}

const fn never_ends(c: char) -> bool {
    matches!(c, '（' | '《' | '「' | '『' | '“' | '‘' | '(' | '[')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use textwrap::core::display_width;

    use super::*;

    fn wrapped(text: &str, width: usize) -> Vec<String> {
        let mut out = String::new();
        paragraph(&mut out, text, "  ", width);
        out.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn english_breaks_at_spaces_only() {
        assert_eq!(
            wrapped("the peer sent tcp-rst, net.ipv4.tcp_syn_retries is 6", 20),
            ["  the peer sent", "  tcp-rst,", "  net.ipv4.tcp_syn_retries", "  is 6"]
        );
    }

    #[test]
    fn chinese_breaks_between_characters_but_not_before_punctuation() {
        assert_eq!(
            wrapped("对端发来RST，连接断开。", 12),
            ["  对端发来", "  RST，连接", "  断开。"]
        );
        assert_eq!(wrapped("四个字符。", 10), ["  四个字", "  符。"]);
        assert_eq!(wrapped("四字（默认）", 8), ["  四字", "  （默", "  认）"]);
    }

    #[test]
    fn padding_counts_columns() {
        assert_eq!(pad("errno", 8), "errno   ");
        assert_eq!(pad("本机", 8), "本机    ");
        assert_eq!(pad("longer", 3), "longer");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-z，。（）字符 -]{0,80}", width in 4usize..40) {
            let kept: String = wrapped(&text, width).concat();
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&kept), bare(&text));
        }

        #[test]
        fn lines_of_single_characters_fit(text in "[字符号码]{1,80}", width in 4usize..40) {
            for line in wrapped(&text, width) {
                prop_assert!(display_width(&line) <= width);
            }
        }
    }
}
