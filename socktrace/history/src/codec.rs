//! Compact storage of lines: what many lines have in common is stored once, as their shape.
//!
//! A shape is a line with gaps in place of the varying parts: numbers, addresses, and words with
//! digits in sentences. The contents of the gaps are stored for each line.

use std::{ops::Range, str::FromStr as _};

use jiff::{
    Timestamp,
    fmt::{StdIoWrite, temporal::DateTimePrinter},
};
use memchr::memchr2;

/// Marks a gap in a shape. JSON contains neither of these two bytes unescaped.
const GAP: u8 = 0;

/// Marks the gap for the line's time.
const TIME_GAP: u8 = 1;

/// Text fields that vary from line to line.
const VARIABLE: [&str; 7] =
    ["local", "remote", "remote_name", "flow", "router", "path", "peer_address"];

/// Text fields with sentences, in which words with digits vary.
const SENTENCES: [&str; 2] = ["reason", "advice"];

/// Number fields with the same value in many lines.
const FIXED: [&str; 9] = [
    "errno_number",
    "uid",
    "user",
    "netns",
    "service_port",
    "icmp_type",
    "icmp_code",
    "fd",
    "user_timeout_ms",
];

/// Format of times.
const TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// First byte of a short filling: its length, below this value.
const SMALL: u8 = 0x80;

/// First byte of a long filling, followed by its length in four bytes.
const LONG: u8 = 0xff;

/// A line split into shape and fillings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) shape: Vec<u8>,
    /// Fillings of the shape's gaps, in order.
    pub(crate) fillings: Vec<u8>,
}

impl Packed {
    /// Splits a line with this time, in nanoseconds since 1970.
    pub(crate) fn pack(&mut self, line: &[u8], time: i64) {
        self.shape.clear();
        self.fillings.clear();
        if line.contains(&GAP) || line.contains(&TIME_GAP) {
            // Not JSON.
            self.gap(line);
            return;
        }
        let mut key: &[u8] = b"";
        let mut at = 0;
        while let Some(byte) = line.get(at) {
            let rest = &line[at..];
            match byte {
                b'"' => {
                    let content = text(&rest[1..]);
                    let after = &rest[(content.len() + 2).min(rest.len())..];
                    self.shape.push(b'"');
                    if after.first() == Some(&b':') {
                        key = content;
                        self.shape.extend_from_slice(content);
                    } else {
                        self.text(key, content, time);
                    }
                    at += 1 + content.len();
                    if let Some(quote) = line.get(at) {
                        self.shape.push(*quote);
                        at += 1;
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let length = rest.iter().take_while(|byte| is_of_number(**byte)).count();
                    if is_one_of(&FIXED, key) {
                        self.shape.extend_from_slice(&rest[..length]);
                    } else {
                        self.gap(&rest[..length]);
                    }
                    at += length;
                }
                byte => {
                    self.shape.push(*byte);
                    at += 1;
                }
            }
        }
    }

    /// Adds the content of a text field.
    fn text(&mut self, key: &[u8], content: &[u8], time: i64) {
        if is_one_of(&VARIABLE, key) {
            self.gap(content);
        } else if is_one_of(&SENTENCES, key) {
            self.sentence(content);
        } else if key == b"time" {
            if nanoseconds(content) == Some(time) {
                self.shape.push(TIME_GAP);
            } else {
                self.gap(content);
            }
        } else {
            self.shape.extend_from_slice(content);
        }
    }

    fn sentence(&mut self, content: &[u8]) {
        let mut rest = content;
        while let Some(first) = rest.first() {
            let is_word = is_of_word(*first);
            let length = rest.iter().take_while(|byte| is_of_word(**byte) == is_word).count();
            let (piece, after) = rest.split_at(length);
            if is_word && piece.iter().any(u8::is_ascii_digit) {
                self.gap(piece);
            } else {
                self.shape.extend_from_slice(piece);
            }
            rest = after;
        }
    }

    /// Adds a gap with this filling.
    fn gap(&mut self, filling: &[u8]) {
        self.shape.push(GAP);
        if let Some(number) = small_number(filling) {
            self.fillings.push(SMALL + number);
            return;
        }
        match u8::try_from(filling.len()) {
            Ok(length) if length < SMALL => self.fillings.push(length),
            _ => {
                self.fillings.push(LONG);
                let length = u32::try_from(filling.len()).unwrap_or(u32::MAX);
                self.fillings.extend_from_slice(&length.to_le_bytes());
            }
        }
        self.fillings.extend_from_slice(filling);
    }
}

/// Appends the line with this shape, fillings and time to a buffer; `None` if they do not match.
pub(crate) fn unpack(
    shape: &[u8],
    mut fillings: &[u8],
    time: i64,
    out: &mut Vec<u8>,
) -> Option<()> {
    fill(shape, &mut fillings, time, out)?;
    fillings.is_empty().then_some(())
}

/// Appends a part of a line to a buffer, and consumes the fillings of its gaps.
pub(crate) fn fill(part: &[u8], fillings: &mut &[u8], time: i64, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = part;
    while let Some(at) = memchr2(GAP, TIME_GAP, rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == TIME_GAP {
            let time = Timestamp::from_nanosecond(time.into()).ok()?;
            TIMES.print_timestamp(&time, StdIoWrite(&mut *out)).ok()?;
        } else {
            let (first, after) = fillings.split_first()?;
            *fillings = after;
            let length = match *first {
                LONG => {
                    let (length, after) = fillings.split_first_chunk()?;
                    *fillings = after;
                    usize::try_from(u32::from_le_bytes(*length)).ok()?
                }
                number @ SMALL.. => {
                    out.extend_from_slice(itoa::Buffer::new().format(number - SMALL).as_bytes());
                    0
                }
                length => length.into(),
            };
            let (filling, after) = fillings.split_at_checked(length)?;
            out.extend_from_slice(filling);
            *fillings = after;
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The fields of a shape's object whose values have gaps, with the ranges of these values. A field
/// that contains only the line's time is excluded. Gaps occur only in values.
pub(crate) fn differing(shape: &[u8]) -> Vec<(Box<str>, Range<usize>)> {
    let mut found = Vec::new();
    let (mut depth, mut at) = (0_usize, 0);
    // The last text, and the start of this key's value.
    let (mut last, mut key): (&[u8], _) = (b"", None);
    while let Some(byte) = shape.get(at) {
        match byte {
            b'"' => {
                last = text(&shape[at + 1..]);
                at += 1 + last.len();
            }
            b':' if depth == 1 => key = Some((last, at + 1)),
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' => {
                if depth == 1
                    && let Some((key, begin)) = key.take()
                    && shape[begin..at].iter().any(|byte| *byte <= TIME_GAP)
                    && shape[begin..at] != [b'"', TIME_GAP, b'"']
                {
                    found.push((String::from_utf8_lossy(key).into(), begin..at));
                }
                if *byte != b',' {
                    depth = depth.saturating_sub(1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The content of a JSON string after its opening quotation mark, up to the closing one.
fn text(rest: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(found) = rest[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        if rest[at + found] == b'"' {
            return &rest[..at + found];
        }
        at = (at + found + 2).min(rest.len());
    }
    rest
}

const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Whether a byte belongs to a word, an address or a number.
const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-')
}

fn is_one_of(names: &[&str], key: &[u8]) -> bool {
    names.iter().any(|name| name.as_bytes() == key)
}

/// A small number in canonical form.
fn small_number(text: &[u8]) -> Option<u8> {
    let is_plain =
        matches!(text, [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] | [b'1', b'0' | b'1', _]);
    if !is_plain {
        return None;
    }
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number < LONG - SMALL).then_some(number)
}

/// The time in a text, if written with nine decimals in UTC.
fn nanoseconds(text: &[u8]) -> Option<i64> {
    const LENGTH: usize = "2026-03-01T08:05:09.123000000Z".len();
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == LENGTH)?;
    let time = Timestamp::from_str(text).ok()?;
    // Leap seconds, for example, do not survive a round trip.
    (format!("{time:.9}") == text).then(|| i64::try_from(time.as_nanosecond()).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "2026-03-01T08:05:09.123000000Z";

    fn round_trip(line: &str, time: i64) -> (Packed, String) {
        let mut packed = Packed::default();
        packed.pack(line.as_bytes(), time);
        let mut out = Vec::new();
        unpack(&packed.shape, &packed.fillings, time, &mut out).expect("they fit");
        (packed, String::from_utf8(out).expect("text"))
    }

    fn time() -> i64 {
        nanoseconds(TIME.as_bytes()).expect("a time")
    }

    #[test]
    fn lines_of_one_kind_have_one_shape() {
        let line = |pid: u32, remote: &str, port: u16| {
            format!(
                "{{\"time\":\"{TIME}\",\"event\":\"failure\",\"remote\":\"{remote}\",\"remote_port\":{port},\
                 \"pid\":{pid},\"comm\":\"a \\\"7\\\"\",\"uid\":33,\"retransmits\":0,\"flags\":[\"idle\"],\
                 \"reason\":\"{port} bytes from {remote}, TCP_MD5SIG\",\"advice\":\"ss -tn dst {remote}\"}}"
            )
        };
        let one = line(81, "10.0.0.9", 50_412);
        let other = line(4_194_304, "2001:db8::7", 7);
        let (packed, text) = round_trip(&one, time());
        assert_eq!(text, one);
        let (other_packed, text) = round_trip(&other, time());
        assert_eq!(text, other);
        assert_eq!(packed.shape, other_packed.shape);
        assert!(packed.fillings.len() < 70, "{}", packed.fillings.len());
    }

    #[test]
    fn fields_that_differ_are_found_with_their_values() {
        let line = format!(
            "{{\"time\":\"{TIME}\",\"pid\":7,\"uid\":0,\"pod\":{{\"a\":[12],\"b\":null}},\"comm\":\"a:1\",\
             \"reason\":\"sent, after 3 tries\",\"local\":\"::1\",\"flags\":[\"x\"],\"last\":1}}"
        );
        let (packed, _) = round_trip(&line, nanoseconds(TIME.as_bytes()).expect("a time"));
        let mut fillings = &packed.fillings[..];
        let mut found = Vec::new();
        for (key, value) in differing(&packed.shape) {
            let mut text = Vec::new();
            fill(&packed.shape[value], &mut fillings, 0, &mut text).expect("fits");
            found.push(format!("{key}={}", String::from_utf8(text).expect("text")));
        }
        assert!(fillings.is_empty());
        let pod = "pod={\"a\":[12],\"b\":null}";
        let reason = "reason=\"sent, after 3 tries\"";
        assert_eq!(found, ["pid=7", pod, reason, "local=\"::1\"", "last=1"]);
    }

    #[test]
    fn any_other_time_is_kept_as_it_is() {
        for text in [TIME, "2026-03-01T08:05:09Z", "2026-03-01T08:05:09.123+00:00", "", "now"] {
            let line = format!("{{\"time\":\"{text}\"}}");
            assert_eq!(round_trip(&line, time()).1, line);
            assert_eq!(round_trip(&line, 7).1, line);
        }
    }

    #[test]
    fn what_does_not_fit_is_no_line() {
        let (packed, _) = round_trip("{\"a\":1,\"b\":\"c\",\"local\":\"x\"}", 0);
        for length in 0..packed.fillings.len() {
            assert_eq!(unpack(&packed.shape, &packed.fillings[..length], 0, &mut Vec::new()), None);
        }
        let mut longer = packed.fillings.clone();
        longer.push(0);
        assert_eq!(unpack(&packed.shape, &longer, 0, &mut Vec::new()), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(line in proptest::collection::vec(any::<u8>(), 0..300), time: i64) {
            let mut packed = Packed::default();
            packed.pack(&line, time);
            let mut out = Vec::new();
            prop_assert_eq!(unpack(&packed.shape, &packed.fillings, time, &mut out), Some(()));
            prop_assert_eq!(out, line);
        }

        #[test]
        fn nothing_of_json_is_lost(
            key in "time|reason|local|uid|x", text in "[ -~]{0,40}", number in "-?[0-9]{1,200}(\\.[0-9]+)?"
        ) {
            let line = format!("{{\"{key}\":{text:?},\"{key}\":{number},\"n\":[{number},null,true]}}");
            prop_assert_eq!(round_trip(&line, 0).1, line);
        }
    }
}
