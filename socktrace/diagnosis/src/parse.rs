//! Parsing of errnos, causes and severities: by name in either case; errnos also by number.

use std::str::FromStr;

use socktrace_similar::nearest;

use crate::{Cause, Errno, Severity};

impl FromStr for Errno {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            let named = Self(number);
            return if number <= Self::LARGEST {
                Ok(named)
            } else {
                Err(format!(
                    "errnos end at {}; expected one such as 104 or ECONNRESET",
                    Self::LARGEST
                ))
            };
        }
        let known: Vec<_> = Self::all().map(|errno| (errno, errno.name())).collect();
        if let Some((errno, _)) = known.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
            return Ok(*errno);
        }
        let near = nearest(text, known.iter().map(|(_, name)| name.as_str()));
        Err(format!(
            "no errno has this name; {}",
            offer(
                near,
                "names are as in errno(3), such as ECONNRESET; use none for events without an errno"
            )
        ))
    }
}

impl FromStr for Cause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(cause) = Self::ALL.iter().find(|cause| cause.id().eq_ignore_ascii_case(text)) {
            return Ok(*cause);
        }
        let near = nearest(text, Self::ALL.iter().map(|cause| cause.id()));
        Err(format!("there is no such cause; {}", offer(near, "socktrace explain lists them")))
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|severity| severity.id().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| {
            format!(
                "expected one of {}, or one of them after ! for all others",
                Self::ALL.map(Self::id).join(", ")
            )
        })
    }
}

fn offer(near: Option<&str>, otherwise: &str) -> String {
    near.map_or_else(|| otherwise.to_owned(), |name| format!("did you mean {name}?"))
}
