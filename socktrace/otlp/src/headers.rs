//! Headers of requests. They contain credentials, so their values are never shown.

use std::fmt;

use hyper::header::{HeaderName, HeaderValue};

/// Additional headers of requests.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(HeaderName, HeaderValue)>);

/// Headers that the protocol sets itself.
const TAKEN: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
];

impl Headers {
    /// Parses `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name2=value2`, with percent-encoded values.
    ///
    /// # Errors
    /// The number of the invalid entry. Its text is secret.
    pub(crate) fn from_variable(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).enumerate();
        let entries = entries.filter(|(_, entry)| !entry.is_empty());
        let headers = entries.map(|(index, entry)| {
            let problem = |what: &str| format!("header {}: {what}", index + 1);
            let (name, value) = entry.split_once('=').ok_or_else(|| problem("no name=value"))?;
            let value = decode(value.trim())
                .ok_or_else(|| problem("a % without two hexadecimal digits"))?;
            header(name, &value).map_err(problem)
        });
        headers.collect::<Result<_, _>>().map(Self)
    }

    /// Parses a file with one header per line, `Name: value`. Empty lines and lines that begin with
    /// `#` are skipped.
    ///
    /// # Errors
    /// The number of the invalid line.
    pub(crate) fn from_file(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let headers = lines.map(|(index, line)| {
            let problem = |what: &str| format!("line {}: {what}", index + 1);
            let (name, value) =
                line.split_once(':').ok_or_else(|| problem("a header is written `Name: value`"))?;
            header(name, value.trim().as_bytes()).map_err(problem)
        });
        headers.collect::<Result<_, _>>().map(Self)
    }

    /// Adds the headers of `other` whose names are not present yet.
    pub(crate) fn or(self, other: &Self) -> Self {
        let Self(mut headers) = self;
        let more = other.0.iter().filter(|(name, _)| headers.iter().all(|(own, _)| own != name));
        let more: Vec<_> = more.cloned().collect();
        headers.extend(more);
        Self(headers)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

/// Shows only the names.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name.as_str())).finish()
    }
}

fn header(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name: HeaderName = name.trim().parse().map_err(|_| "not a valid header name")?;
    if TAKEN.contains(&name.as_str()) {
        return Err("a header of HTTP itself, which cannot be set");
    }
    let mut value = HeaderValue::from_bytes(value)
        .map_err(|_| "a value with a line break or another control character")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Decodes percent-encoding.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &Headers) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn both_forms_say_the_same() {
        let one =
            Headers::from_variable("Authorization=Bearer%20a%3Db, x-scope=7,").expect("sound");
        let file = "# a comment\nAuthorization: Bearer a=b\n\nX-Scope:7\n";
        let other = Headers::from_file(file).expect("sound");
        assert_eq!(pairs(&one), pairs(&other));
        assert_eq!(pairs(&one)[0], ("authorization".to_owned(), "Bearer a=b".to_owned()));
    }

    #[test]
    fn values_are_never_shown() {
        let headers = Headers::from_variable("authorization=secret").expect("sound");
        assert_eq!(format!("{headers:?}"), "[\"authorization\"]");
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        for wrong in ["secret", "a=secret%2", "a b=secret", "host=secret", "a=secret%0a"] {
            let problem = Headers::from_variable(wrong).expect_err(wrong);
            assert!(problem.starts_with("header 1: ") && !problem.contains("secret"), "{problem}");
        }
        let problem = Headers::from_file("a: b\nsecret").expect_err("no header");
        assert!(problem.starts_with("line 2: ") && !problem.contains("secret"), "{problem}");
    }

    #[test]
    fn the_first_one_of_a_name_counts() {
        let file = Headers::from_file("a: 1").expect("sound");
        let variable = Headers::from_variable("A=2,b=3").expect("sound");
        let wanted = [("a", "1"), ("b", "3")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(pairs(&file.or(&variable)), wanted);
    }
}
