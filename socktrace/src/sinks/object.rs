//! Fields of JSON objects, written one by one straight into memory.
//!
//! A line has sixty fields, most of them numbers, null, or constant words. So names and commas are
//! text put together at compile time, without a check of each character; only text with something
//! to escape goes through `serde_json`.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    net::IpAddr,
};

use serde::Serialize;
use socktrace_diagnosis::Errno;

use crate::record::Flow;

/// Adds fields to the object at the end of a buffer, in this order. The second form adds facts
/// about something that may be missing: then all its fields are null.
macro_rules! add_fields {
    ($out:expr, { $($name:literal: $value:expr,)+ }) => {
        $($crate::sinks::object::add(
            $out,
            [concat!(",\"", $name, "\":"), concat!(",\"", $name, "\":null")],
            &$value,
        )?;)+
    };
    ($out:expr, $option:expr => $some:ident { $($name:literal: $value:expr,)+ }) => {
        if let Some($some) = $option {
            $crate::sinks::object::add_fields!($out, { $($name: $value,)+ });
        } else {
            $out.extend_from_slice(concat!($(",\"", $name, "\":null"),+).as_bytes());
        }
    };
}
pub(super) use add_fields;

/// Adds a field, given its whole text except for the value, and its whole text for null.
#[expect(
    clippy::inline_always,
    reason = "where the length of a name is known when compiling, copying it takes no call"
)]
#[inline(always)]
pub(super) fn add(
    out: &mut Vec<u8>,
    [name, null]: [&str; 2],
    value: &impl Value,
) -> io::Result<()> {
    if value.is_null() {
        out.extend_from_slice(null.as_bytes());
        return Ok(());
    }
    out.extend_from_slice(name.as_bytes());
    value.write(out)
}

/// Adds the fields of another object, which must have some.
pub(super) fn add_object(out: &mut Vec<u8>, object: &impl Serialize) -> io::Result<()> {
    let begin = out.len();
    serde_json::to_writer(&mut *out, object)?;
    // Replaces its braces.
    out[begin] = b',';
    out.pop();
    Ok(())
}

/// A value of a field.
pub(super) trait Value {
    fn is_null(&self) -> bool {
        false
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()>;
}

impl Value for str {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        if has_escapes(self) {
            return Ok(serde_json::to_writer(out, self)?);
        }
        out.push(b'"');
        out.extend_from_slice(self.as_bytes());
        out.push(b'"');
        Ok(())
    }
}

/// Whether a text contains anything that JSON must escape.
fn has_escapes(text: &str) -> bool {
    // Without a branch per byte, so that many bytes are checked at once.
    let found = text.bytes().fold(0, |found, byte| {
        found | u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\')
    });
    found != 0
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        self.as_str().write(out)
    }
}

impl Value for Cow<'_, str> {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        self.as_ref().write(out)
    }
}

/// Written as its name.
impl Value for Errno {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        self.text().write(out)
    }
}

/// Written as its digits.
impl Value for Flow {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        write!(out, "\"{self}\"")
    }
}

/// A constant word, with nothing to escape.
#[derive(Clone, Copy)]
pub(super) struct Word(pub(super) &'static str);

impl Value for Word {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        debug_assert!(!has_escapes(self.0), "{}", self.0);
        out.push(b'"');
        out.extend_from_slice(self.0.as_bytes());
        out.push(b'"');
        Ok(())
    }
}

/// Several constant words.
pub(super) struct Words<I>(pub(super) I);

impl<I: Iterator<Item = &'static str> + Clone> Value for Words<I> {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.push(b'[');
        for (index, word) in self.0.clone().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            Word(word).write(out)?;
        }
        out.push(b']');
        Ok(())
    }
}

impl<T: Value + ?Sized> Value for &T {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        (**self).write(out)
    }
}

impl<T: Value> Value for Option<T> {
    fn is_null(&self) -> bool {
        self.is_none()
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Some(value) => value.write(out),
            None => out.write_all(b"null"),
        }
    }
}

macro_rules! numbers {
    ($($ty:ty)+) => {
        $(impl Value for $ty {
            fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
                // Most numbers are.
                if let Ok(digit @ 0..=9) = u8::try_from(*self) {
                    out.push(b'0' + digit);
                    return Ok(());
                }
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
                Ok(())
            }
        })+
    };
}

numbers!(u8 u16 u32 u64 i32);

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
        Ok(())
    }
}

impl Value for IpAddr {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::V4(address) => {
                for (index, octet) in address.octets().into_iter().enumerate() {
                    out.push(if index == 0 { b'"' } else { b'.' });
                    if octet >= 100 {
                        out.push(b'0' + octet / 100);
                    }
                    if octet >= 10 {
                        out.push(b'0' + octet / 10 % 10);
                    }
                    out.push(b'0' + octet % 10);
                }
            }
            Self::V6(address) => write!(out, "\"{address}")?,
        }
        out.push(b'"');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn written(value: &impl Value) -> String {
        let mut out = Vec::new();
        value.write(&mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_is_written_as_serde_json_writes_it() {
        let texts =
            ["", "nginx", "a \"b\" c", "back\\slash", "a\x1b[2J\n", "n\u{e9}\u{7f}\u{2028}"];
        let long = "a long text whose only quotation mark is at its very end\"";
        for text in texts.into_iter().chain([long]) {
            assert_eq!(written(&text), json!(text).to_string(), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_written_as_serde_json_writes_them() {
        for text in ["0.0.0.0", "127.0.0.1", "255.100.20.3", "::", "2001:db8::7", "::ffff:1.2.3.4"]
        {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(written(&address), json!(address).to_string());
        }
    }

    #[test]
    fn fields_follow_each_other() -> io::Result<()> {
        let mut out = b"{\"event\":\"x\"".to_vec();
        add_fields!(&mut out, {
            "pid": Some(7_u32),
            "comm": None::<&str>,
            "errno": Errno(u16::try_from(nix::libc::EPIPE).expect("small")),
            "flags": Words(["idle", "probed"].into_iter()),
            "none": Words(std::iter::empty()),
        });
        add_fields!(&mut out, Some(IpAddr::from([192, 0, 2, 1])) => router {
            "router": router,
            "code": 3_u8,
        });
        add_fields!(&mut out, None::<u32> => peer { "peer_pid": peer, "peer_uid": peer, });
        add_object(&mut out, &json!({"unit": "a.service"}))?;
        out.push(b'}');
        let object: Json = serde_json::from_slice(&out)?;
        let expected = json!({
            "event": "x", "pid": 7, "comm": null, "errno": "EPIPE", "flags": ["idle", "probed"],
            "none": [], "router": "192.0.2.1", "code": 3, "peer_pid": null, "peer_uid": null,
            "unit": "a.service",
        });
        assert_eq!(object, expected);
        Ok(())
    }
}
