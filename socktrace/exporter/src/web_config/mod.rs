//! Parser for the web configuration file, in the format of Prometheus's exporter toolkit
//! (`docs/web-configuration.md` there), extended by bearer tokens.

#[cfg(test)]
mod fuzz;
mod suites;
mod tls;
mod yaml;

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::Quota;
use jiff::SignedDuration;

pub(super) use tls::{ClientAuth, Pem, TlsConfig};
use yaml::{Node, Problem, Word, read};

const SECTIONS: [&str; 5] =
    ["tls_server_config", "http_server_config", "basic_auth_users", "bearer_tokens", "rate_limit"];

/// Headers that may be set, and the permitted values of some.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// Maximum time until a full burst is allowed again. The limiter counts nanoseconds.
const LONGEST_BURST: Duration = Duration::from_hours(24 * 365);

/// Prefix of a token's digest.
const DIGEST: &str = "sha256:";

/// A SHA-256 digest.
pub(super) type Digest = [u8; 32];

/// Settings of a file.
#[derive(Debug, Default)]
pub(super) struct WebConfig {
    pub(super) tls: Option<TlsConfig>,
    /// Headers sent with every answer.
    pub(super) headers: HeaderMap,
    /// Users and the bcrypt hashes of their passwords.
    pub(super) users: BTreeMap<String, String>,
    /// Digests of the accepted tokens.
    pub(super) tokens: Vec<Digest>,
    /// Rate limit for requests.
    pub(super) rate: Option<Quota>,
    /// Settings that were replaced by equivalent or better ones.
    pub(super) notes: Vec<Problem>,
}

impl WebConfig {
    /// Parses a file. Relative paths are resolved against `directory`.
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, Problem> {
        read(text, |node| {
            let mut config = Self::default();
            for (key, value) in node.map_or_else(|| Ok(Vec::new()), Node::mapping)? {
                match key.text.as_str() {
                    "tls_server_config" => {
                        config.tls = tls::parse(value, &key, directory, &mut config.notes)?;
                    }
                    "http_server_config" => config.headers = http(value)?,
                    "basic_auth_users" => config.users = users(value)?,
                    "bearer_tokens" => config.tokens = tokens(value)?,
                    "rate_limit" => config.rate = rate(value)?,
                    _ => return Err(key.unknown("key", &SECTIONS)),
                }
            }
            Ok(config)
        })
    }
}

fn http(section: Node<'_>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for (key, value) in section.mapping()? {
        match key.text.as_str() {
            // Ignored: all HTTP/2 clients also support HTTP/1.1, which is served.
            "http2" => drop(value.boolean()?),
            "headers" => {
                for (name, value) in value.mapping()? {
                    headers.extend(header(&name, value)?);
                }
            }
            _ => return Err(key.unknown("key", &["http2", "headers"])),
        }
    }
    Ok(headers)
}

/// Parses a header; `None` if its value is empty.
fn header(name: &Word, value: Node<'_>) -> Result<Option<(HeaderName, HeaderValue)>, Problem> {
    let Some((known, values)) = HEADERS.iter().find(|(known, _)| *known == name.text) else {
        return Err(name.unknown("header", &HEADERS.map(|(known, _)| known)));
    };
    let word = value.word()?;
    if word.text.is_empty() {
        return Ok(None);
    }
    if !values.is_empty() && !values.contains(&word.text.as_str()) {
        return Err(word.unknown("value", values));
    }
    let content = HeaderValue::from_str(&word.text);
    let content =
        content.map_err(|_| word.problem(format!("this value is not valid for {known}")))?;
    let name = known.parse().map_err(|_| name.problem("this is not a valid header"))?;
    Ok(Some((name, content)))
}

fn users(section: Node<'_>) -> Result<BTreeMap<String, String>, Problem> {
    let mut users = BTreeMap::new();
    for (name, value) in section.mapping()? {
        let hash = value.text()?;
        // The message must not repeat the value, which may be the password.
        if hash.parse::<bcrypt::HashParts>().is_err() {
            return Err(value.problem(format!(
                "the password of {:?} is not a bcrypt hash, such as htpasswd -nBC 10 makes",
                name.text
            )));
        }
        users.insert(name.text, hash);
    }
    Ok(users)
}

fn tokens(section: Node<'_>) -> Result<Vec<Digest>, Problem> {
    let token = |(name, value): (Word, Node<'_>)| {
        digest(&value.text()?).ok_or_else(|| {
            value.problem(format!(
                "the token of {:?} is not {DIGEST} and 64 hexadecimal digits, such as \
                 printf %s TOKEN | sha256sum makes",
                name.text
            ))
        })
    };
    section.mapping()?.into_iter().map(token).collect()
}

fn digest(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix(DIGEST)?.as_bytes();
    let mut digest = [0; 32];
    if digits.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(digest)
}

fn rate(section: Node<'_>) -> Result<Option<Quota>, Problem> {
    let mut interval = Duration::ZERO;
    let mut burst = None;
    for (key, value) in section.mapping()? {
        match key.text.as_str() {
            "interval" => interval = duration(value)?,
            "burst" => {
                let problem = |_| value.problem("expected a number of requests, at least 1");
                burst = Some(value.text()?.parse().map_err(problem)?);
            }
            _ => return Err(key.unknown("key", &["interval", "burst"])),
        }
    }
    // An interval of 0 disables the limit.
    let Some(quota) = Quota::with_period(interval) else { return Ok(None) };
    let burst: NonZeroU32 =
        burst.ok_or_else(|| section.problem("rate_limit has an interval, and no burst"))?;
    if interval.checked_mul(burst.get()).is_none_or(|all| all > LONGEST_BURST) {
        return Err(section.problem("interval times burst must not exceed a year"));
    }
    Ok(Some(quota.allow_burst(burst)))
}

/// Parses a duration in Go's syntax.
fn duration(value: Node<'_>) -> Result<Duration, Problem> {
    let text = value.text()?;
    let parsed = if text == "0" { Some(SignedDuration::ZERO) } else { text.parse().ok() };
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| value.problem("expected a duration, such as 500ms, 1s or 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebConfig, Problem> {
        WebConfig::parse(text, Path::new("/etc/socktrace"))
    }

    fn problem(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn a_whole_file_of_the_toolkit_is_understood() {
        let config = parse(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: /keys/server.key\n\
             http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    \
             Strict-Transport-Security: max-age=31536000\n    Content-Security-Policy:\n\
             basic_auth_users:\n  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n  \
             007: $2y$10$hLqFl9jSjoAAy95Z/zw8Ye8wkdMBM8c5Bn1ptYqP/AXyV0.oy0S8m\n\
             rate_limit:\n  interval: 1.5s\n  burst: 3\n",
        )
        .expect("sound");
        let tls = config.tls.expect("TLS");
        assert_eq!(
            tls.files(),
            [Path::new("/etc/socktrace/server.crt"), Path::new("/keys/server.key")]
        );
        assert_eq!(config.headers.len(), 2);
        assert_eq!(config.headers["x-frame-options"], "deny");
        assert_eq!(config.users.keys().collect::<Vec<_>>(), ["007", "alice"]);
        let rate = config.rate.expect("a limit");
        assert_eq!(rate.burst_size().get(), 3);
        assert_eq!(rate.replenish_interval(), Duration::from_millis(1_500));
        assert_eq!(config.notes, []);
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        for text in ["", "# a comment\n", "tls_server_config:\nbasic_auth_users: {}\n"] {
            let config = parse(text).expect(text);
            assert!(config.tls.is_none() && config.users.is_empty() && config.rate.is_none());
        }
        let off = "rate_limit:\n  interval: 0\n  burst: 0\n";
        assert!(problem(off).starts_with("line 3: expected a number of requests"));
        assert!(parse("rate_limit:\n  interval: 0\n").expect("sound").rate.is_none());
    }

    #[test]
    fn tokens_are_digests() {
        let token = "ab".repeat(32);
        let config = parse(&format!("bearer_tokens:\n  prometheus: sha256:{token}\n"));
        assert_eq!(config.expect("sound").tokens, [[0xab; 32]]);
        for wrong in ["secret", &token, "sha256:abc", &format!("sha256:{}x{}", "a", &token[2..])] {
            let problem = problem(&format!("bearer_tokens:\n  prometheus: {wrong}\n"));
            assert!(problem.starts_with("line 2: the token of \"prometheus\""), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn problems_name_line_and_choices() {
        for (text, words) in [
            ("tls_config: {}\n", &["line 1", "tls_config", "tls_server_config"][..]),
            ("\nbasic_auth_user: {}\n", &["line 2", "did you mean basic_auth_users?"]),
            ("- a\n", &["line 1", "expected keys"]),
            ("http_server_config:\n  http3: true\n", &["line 2", "did you mean http2?"]),
            ("http_server_config:\n  http2: 2\n", &["line 2", "true, false"]),
            (
                "http_server_config:\n  headers:\n    X-Frame-Option: deny\n",
                &["line 3", "did you mean X-Frame-Options?"],
            ),
            (
                "http_server_config:\n  headers:\n    X-Frame-Options: allow\n",
                &["line 3", "deny, sameorigin"],
            ),
            ("basic_auth_users:\n  a: secret\n", &["line 2", "\"a\"", "bcrypt"]),
            ("rate_limit:\n  interval: fast\n", &["line 2", "500ms"]),
            ("rate_limit:\n  interval: -1s\n", &["line 2", "500ms"]),
            ("rate_limit:\n  interval: 1s\n", &["line 2", "no burst"]),
            ("rate_limit:\n  interval: 9000h\n  burst: 2\n", &["line 2", "exceed a year"]),
        ] {
            let problem = problem(text);
            assert!(words.iter().all(|word| problem.contains(word)), "{text:?}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
