//! Fields of JSON objects, written one by one straight into memory.
//!
//! A line has sixty fields, most of them numbers, null, or words of this program. So their names and
//! commas are text that is put together when compiling and needs no look at each letter; only values
//! from elsewhere go through `serde_json`.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    net::IpAddr,
};

use serde::Serialize;
use socktrace_diagnosis::Errno;

/// Adds fields to the object at the end of a buffer, in this order.
macro_rules! add_fields {
    ($out:expr, { $($name:literal: $value:expr,)+ }) => {
        $($crate::sinks::object::add(
            $out,
            [concat!(",\"", $name, "\":"), concat!(",\"", $name, "\":null")],
            &$value,
        )?;)+
    };
}
pub(super) use add_fields;

/// Adds a field, given all of it but the value, and all of it for null.
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

/// Adds the fields of another object, which has some.
pub(super) fn add_object(out: &mut Vec<u8>, object: &impl Serialize) -> io::Result<()> {
    let begin = out.len();
    serde_json::to_writer(&mut *out, object)?;
    // In place of its braces.
    out[begin] = b',';
    out.pop();
    Ok(())
}

/// What a field can have.
pub(super) trait Value {
    fn is_null(&self) -> bool {
        false
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()>;
}

impl Value for str {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        // Without a branch for each byte, so that many are looked at at once.
        let escapes = self.bytes().fold(0, |found, byte| {
            found | u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\')
        });
        if escapes != 0 {
            return Ok(serde_json::to_writer(out, self)?);
        }
        out.push(b'"');
        out.extend_from_slice(self.as_bytes());
        out.push(b'"');
        Ok(())
    }
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

/// By its name.
impl Value for Errno {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        self.text().write(out)
    }
}

/// Words of this program.
impl Value for Vec<&'static str> {
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.push(b'[');
        for (index, word) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            word.write(out)?;
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

/// Leaves it to `serde_json`.
macro_rules! by_serde {
    ($($ty:ty)+) => {
        $(impl Value for $ty {
            fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
                Ok(serde_json::to_writer(out, self)?)
            }
        })+
    };
}

by_serde!(bool u8 u16 u32 u64 i32 IpAddr);

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
    fn fields_follow_each_other() -> io::Result<()> {
        let mut out = b"{\"event\":\"x\"".to_vec();
        add_fields!(&mut out, {
            "pid": Some(7_u32),
            "comm": None::<&str>,
            "errno": Errno(u16::try_from(nix::libc::EPIPE).expect("small")),
            "flags": vec!["idle", "probed"],
            "none": Vec::new(),
        });
        add_object(&mut out, &json!({"unit": "a.service"}))?;
        out.push(b'}');
        let object: Json = serde_json::from_slice(&out)?;
        let expected = json!({
            "event": "x", "pid": 7, "comm": null, "errno": "EPIPE", "flags": ["idle", "probed"],
            "none": [], "unit": "a.service",
        });
        assert_eq!(object, expected);
        Ok(())
    }
}
