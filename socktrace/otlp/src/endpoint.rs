//! Endpoints: the URLs to send to.

use std::{fmt, str::FromStr};

use hyper::Uri;

/// Default ports of OTLP over HTTP and over gRPC.
const PORT: u16 = 4_318;
const GRPC_PORT: u16 = 4_317;

/// The two signals that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Logs,
    Metrics,
}

impl Signal {
    /// Path of a signal below a collector's base URL.
    const fn path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Metrics => "v1/metrics",
        }
    }

    /// Name of the signal in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// URL of a collector, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) is_tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path, with a leading slash.
    pub(crate) path: String,
}

impl Endpoint {
    /// The URL of a signal for this base URL.
    pub(crate) fn of_signal(&self, signal: Signal) -> Self {
        let path = format!("{}/{}", self.path.trim_end_matches('/'), signal.path());
        Self { path, ..self.clone() }
    }

    /// Host and port, as in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let is_v6 = self.host.contains(':');
        if is_v6 {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// Parses a URL such as `http://collector:4318`. Errors do not repeat the text, which may
    /// contain a password.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it as http://HOST:4318 or https://HOST:4318";
        let uri: Uri =
            text.trim().parse().map_err(|error| format!("not a URL ({error}); {FORM}"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some("grpc") => return Err(format!("gRPC is not supported; {FORM}")),
            _ => return Err(format!("the URL starts with neither http:// nor https://; {FORM}")),
        };
        let authority = uri.authority().ok_or_else(|| format!("the URL has no host; {FORM}"))?;
        if authority.as_str().contains('@') {
            return Err("a URL with a user or password is shown in logs and process lists: put \
                        credentials into the file that otlp-headers-file names"
                .to_owned());
        }
        if uri.query().is_some() {
            return Err(
                "a URL with a query is shown in logs and process lists: put keys into the \
                        file that otlp-headers-file names"
                    .to_owned(),
            );
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(format!("the URL has no host; {FORM}"));
        }
        let port = match authority.port_u16() {
            Some(GRPC_PORT) => {
                return Err(format!(
                    "port {GRPC_PORT} is for gRPC, which is not supported: use port {PORT}, \
                     http/protobuf"
                ));
            }
            Some(0) => return Err(format!("there is no port 0; {FORM}")),
            Some(port) => port,
            None if authority.as_str().ends_with(':') => {
                return Err(format!("the URL has no port; {FORM}"));
            }
            None if authority.as_str().len() > authority.host().len() => {
                return Err(format!("the port is not from 1 to 65535; {FORM}"));
            }
            // The default of any URL: a collector behind a proxy has no port of its own.
            None => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
        };
        Ok(Self { is_tls, host: host.to_owned(), port, path: uri.path().to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_below_the_base() {
        for (base, logs) in [
            ("http://collector:4318", "http://collector:4318/v1/logs"),
            ("https://otel.example", "https://otel.example:443/v1/logs"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/logs"),
            ("http://10.0.0.1:80/otlp/", "http://10.0.0.1:80/otlp/v1/logs"),
        ] {
            let endpoint: Endpoint = base.parse().expect(base);
            assert_eq!(endpoint.of_signal(Signal::Logs).to_string(), logs);
        }
        let endpoint: Endpoint = "http://a:1/otlp".parse().expect("sound");
        assert_eq!(endpoint.of_signal(Signal::Metrics).path, "/otlp/v1/metrics");
        assert_eq!("http://[fe80::1]:1".parse::<Endpoint>().expect("sound").host, "fe80::1");
    }

    #[test]
    fn problems_say_what_to_write() {
        for (wrong, words) in [
            ("collector:4318", "http://"),
            ("grpc://collector:4317", "gRPC"),
            ("http://collector:4317", "4318"),
            ("http://user:secret@collector:4318", "otlp-headers-file"),
            ("http://collector:4318/?key=secret", "otlp-headers-file"),
            ("http://collector:0", "port"),
            ("http://collector:70000", "port"),
            ("ftp://collector", "https://"),
            ("http://", "http://HOST"),
            ("", "http://HOST"),
        ] {
            let problem = wrong.parse::<Endpoint>().expect_err(wrong);
            assert!(problem.contains(words), "{wrong}: {problem}");
            assert!(!problem.contains("secret"), "{wrong}: {problem}");
        }
    }
}
