//! Clients' preferences: the lists of RFC 9110, section 12.4.

use axum::http::{HeaderMap, HeaderName};

/// An element of a list such as `gzip;q=0.8`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    pub(super) name: &'a str,
    parameters: &'a str,
    /// Quality in thousandths; 0 means not acceptable.
    pub(super) quality: u16,
}

/// Parses the elements of all fields with a name; malformed elements are skipped.
pub(super) fn choices<'a>(headers: &'a HeaderMap, field: &HeaderName) -> Vec<Choice<'a>> {
    let fields = headers.get_all(field).into_iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|list| list.split(',')).filter_map(Choice::parse).collect()
}

impl<'a> Choice<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let choice = Self { name: name.trim(), parameters, quality: 1_000 };
        let quality = choice.parameter("q").map_or(Some(1_000), quality)?;
        (!choice.name.is_empty()).then_some(Self { quality, ..choice })
    }

    /// Returns the value of a parameter.
    pub(super) fn parameter(&self, wanted: &str) -> Option<&'a str> {
        let parameters = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        parameters
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Parses a quality, which has at most three decimals, into thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1")
        || decimals.len() > 3
        || !decimals.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header::ACCEPT};

    use super::*;

    #[test]
    fn lists_are_read_over_several_fields() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static("a/b; version=\"1.0.0\" ;Q=0.25, c/d"));
        headers.append(ACCEPT, HeaderValue::from_static("e/f;q=0 ,, ;q=1, g/h;q=2"));
        let choices = choices(&headers, &ACCEPT);
        let read: Vec<_> = choices.iter().map(|choice| (choice.name, choice.quality)).collect();
        assert_eq!(read, [("a/b", 250), ("c/d", 1_000), ("e/f", 0)]);
        assert_eq!(choices[0].parameter("Version"), Some("1.0.0"));
        assert_eq!(choices[1].parameter("version"), None);
    }

    #[test]
    fn qualities_have_three_decimals() {
        for (text, value) in [("0", 0), ("1", 1_000), ("1.000", 1_000), ("0.5", 500), ("0.", 0)] {
            assert_eq!(quality(text), Some(value), "{text}");
        }
        for text in ["", "1.001", "0.1234", "2", "-1", "0.+5", "1e-1", ".5"] {
            assert_eq!(quality(text), None, "{text}");
        }
    }
}
