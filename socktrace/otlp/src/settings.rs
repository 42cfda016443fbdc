//! Settings from the command line and the configuration file, completed by OpenTelemetry's
//! variables.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use socktrace_similar::nearest;

use super::{
    endpoint::{Endpoint, Signal},
    headers::{Headers, decode},
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const LOGS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT";
const METRICS_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CLIENT_KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
const CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE: &str = "OTEL_SERVICE_NAME";

const VARIABLES: [&str; 13] = [
    ENDPOINT,
    LOGS_ENDPOINT,
    METRICS_ENDPOINT,
    HEADERS,
    PROTOCOL,
    COMPRESSION,
    TIMEOUT,
    CERTIFICATE,
    CLIENT_KEY,
    CLIENT_CERTIFICATE,
    INTERVAL,
    RESOURCE,
    SERVICE,
];

/// OpenTelemetry's defaults.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);

/// The value that stands for [`Place::Environment`].
const BY_ENVIRONMENT: &str = "env";

/// OpenTelemetry's environment variables.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<&'static str, OsString>);

impl Environment {
    /// Picks OpenTelemetry's variables from all variables.
    pub fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let known = variables.filter_map(|(name, value)| {
            let name = VARIABLES.into_iter().find(|known| name == **known)?;
            // According to the specification, an empty variable counts as unset.
            (!value.is_empty()).then_some((name, value))
        });
        Self(known.collect())
    }

    /// Parses a variable with `parse`; adds any error to `problems`.
    fn read<T>(
        &self,
        name: &str,
        problems: &mut Vec<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text =
            self.0.get(name)?.to_str().ok_or_else(|| "the value is not valid UTF-8".to_owned());
        match text.and_then(|text| parse(text.trim())) {
            Ok(value) => Some(value),
            Err(problem) => {
                problems.push(format!("{name}: {problem}"));
                None
            }
        }
    }
}

/// Shows only the names, because one of the values is secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Destination of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This collector.
    At(Endpoint),
    /// The collector named in OpenTelemetry's variables, else one on this host.
    Environment,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == BY_ENVIRONMENT {
            return Ok(Self::Environment);
        }
        text.parse()
            .map(Self::At)
            .map_err(|problem| format!("{problem}; or {BY_ENVIRONMENT}, for what {ENDPOINT} says"))
    }
}

/// Compression of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Compressed with gzip.
    #[default]
    Gzip,
    /// Uncompressed.
    None,
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "none" => Ok(Self::None),
            _ => Err("expected gzip or none".to_owned()),
        }
    }
}

/// Error for unusable files.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cannot use a file given for OTLP")]
pub struct Unusable;

/// Settings of the command line and the configuration file.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Destination of requests.
    pub place: Place,
    /// File with headers of requests.
    pub headers_file: Option<PathBuf>,
    /// File with certificates of authorities, trusted instead of the system's.
    pub certificate: Option<PathBuf>,
    /// File with the client certificate.
    pub client_certificate: Option<PathBuf>,
    /// File with the client certificate's key.
    pub client_key: Option<PathBuf>,
    /// Compression of requests.
    pub compression: Option<Compression>,
    /// Time limit for a request.
    pub timeout: Option<Duration>,
    /// Interval between requests with metrics.
    pub metrics_interval: Option<Duration>,
}

/// Settings in force.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) logs: Endpoint,
    pub(crate) metrics: Endpoint,
    pub(crate) headers_file: Option<PathBuf>,
    pub(crate) headers: Headers,
    pub(crate) certificate: Option<PathBuf>,
    /// Client certificate and key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    pub(crate) compression: Compression,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    /// Attributes of everything sent.
    pub resource: Vec<(String, String)>,
    /// Service name of this program.
    pub service_name: Option<String>,
}

impl Settings {
    /// Combines both sources. Flags and keys override variables, except for the endpoints of single
    /// signals, which are more specific.
    ///
    /// # Errors
    /// The problems, one per line.
    pub fn new(asked: Asked, environment: &Environment) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let found = &mut problems;
        let parse = |text: &str| text.parse::<Endpoint>();
        let path = |text: &str| Ok(PathBuf::from(text));
        environment.read(PROTOCOL, found, protocol);
        let in_environment = environment.read(ENDPOINT, found, parse);
        let base = match asked.place {
            Place::At(endpoint) => Some(endpoint),
            Place::Environment => in_environment.or_else(|| DEFAULT_ENDPOINT.parse().ok()),
        };
        let of_signal = |signal| base.as_ref().map(|base| base.of_signal(signal));
        let logs =
            environment.read(LOGS_ENDPOINT, found, parse).or_else(|| of_signal(Signal::Logs));
        let metrics =
            environment.read(METRICS_ENDPOINT, found, parse).or_else(|| of_signal(Signal::Metrics));
        let headers = environment.read(HEADERS, found, Headers::from_variable).unwrap_or_default();
        let in_environment = environment.read(COMPRESSION, found, str::parse);
        let compression = asked.compression.or(in_environment).unwrap_or_default();
        let in_environment = environment.read(TIMEOUT, found, milliseconds);
        let timeout = asked.timeout.or(in_environment).unwrap_or(DEFAULT_TIMEOUT);
        let in_environment = environment.read(INTERVAL, found, milliseconds);
        let interval = asked.metrics_interval.or(in_environment).unwrap_or(DEFAULT_INTERVAL);
        let certificate = asked.certificate.or_else(|| environment.read(CERTIFICATE, found, path));
        let client_certificate =
            asked.client_certificate.or_else(|| environment.read(CLIENT_CERTIFICATE, found, path));
        let client_key = asked.client_key.or_else(|| environment.read(CLIENT_KEY, found, path));
        let client = match (client_certificate, client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                found.push("--otlp-client-certificate needs --otlp-client-key".to_owned());
                None
            }
            (None, Some(_)) => {
                found.push("--otlp-client-key needs --otlp-client-certificate".to_owned());
                None
            }
        };
        let resource = environment.read(RESOURCE, found, attributes).unwrap_or_default();
        let service_name = environment.read(SERVICE, found, |text| Ok(text.to_owned()));
        let (Some(logs), Some(metrics), []) = (logs, metrics, problems.as_slice()) else {
            return Err(problems);
        };
        Ok(Self {
            logs,
            metrics,
            headers_file: asked.headers_file,
            headers,
            certificate,
            client,
            compression,
            timeout,
            interval,
            resource,
            service_name,
        })
    }

    /// The ports to connect to.
    #[must_use]
    pub const fn ports(&self) -> [u16; 2] {
        [self.logs.port, self.metrics.port]
    }

    /// The files to read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        let others = self.headers_file.iter().chain(&self.certificate);
        others.chain(client).map(PathBuf::as_path)
    }

    /// Endpoint of log records.
    #[must_use]
    pub const fn logs(&self) -> &Endpoint {
        &self.logs
    }
}

fn protocol(text: &str) -> Result<(), String> {
    match text {
        "http/protobuf" => Ok(()),
        "grpc" => {
            Err("grpc is not supported: send to port 4318 of the collector by http/protobuf, \
                       as in --otlp http://HOST:4318, and unset this variable or set it to http/protobuf"
                .to_owned())
        }
        "http/json" => Err("http/json is not supported: use http/protobuf, which every \
                            collector accepts"
            .to_owned()),
        other => {
            let near = nearest(other, ["http/protobuf"]);
            let near = near.map(|near| format!("; did you mean {near}?"));
            Err(format!("expected http/protobuf{}", near.unwrap_or_default()))
        }
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| (1..=86_400_000).contains(number));
    number
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a whole number of milliseconds from 1 to 86400000".to_owned())
}

/// Parses `key=value,key2=value2`, with percent-encoded values.
fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let attribute = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let text = |part: &str| decode(part.trim()).and_then(|text| String::from_utf8(text).ok());
        Some((text(key).filter(|key| !key.is_empty())?, text(value)?))
    };
    let attributes: Option<Vec<_>> = entries.map(attribute).collect();
    attributes
        .ok_or_else(|| "expected key=value,key2=value2, percent-encoded as in a URL".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The mandatory settings only.
    pub(crate) fn asked(place: &str) -> Asked {
        Asked {
            place: place.parse().expect("a place"),
            headers_file: None,
            certificate: None,
            client_certificate: None,
            client_key: None,
            compression: None,
            timeout: None,
            metrics_interval: None,
        }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn settings(place: &str, variables: &[(&str, &str)]) -> Settings {
        let settings = Settings::new(asked(place), &environment(variables));
        settings.unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn endpoints_are_those_asked_for() {
        let ends = |place, variables: &[_]| {
            let settings = settings(place, variables);
            [settings.logs.to_string(), settings.metrics.to_string()]
        };
        assert_eq!(ends("http://a:1", &[]), ["http://a:1/v1/logs", "http://a:1/v1/metrics"]);
        // The flag sets the endpoint; the variable counts only if requested.
        let base = (ENDPOINT, "https://b:2/otlp");
        assert_eq!(ends("http://a:1", &[base])[0], "http://a:1/v1/logs");
        assert_eq!(ends("env", &[base])[1], "https://b:2/otlp/v1/metrics");
        assert_eq!(ends("env", &[])[0], "http://localhost:4318/v1/logs");
        // Endpoints of signals are used unchanged.
        let logs = (LOGS_ENDPOINT, "http://c:3/mine");
        assert_eq!(ends("http://a:1", &[logs]), ["http://c:3/mine", "http://a:1/v1/metrics"]);
        let metrics = (METRICS_ENDPOINT, "http://c:3/");
        assert_eq!(ends("env", &[base, metrics])[1], "http://c:3/");
    }

    #[test]
    fn flags_win_over_variables() {
        let variables = [(COMPRESSION, "none"), (TIMEOUT, "2500"), (INTERVAL, "5000")];
        let refined = settings("http://a:1", &variables);
        assert_eq!(refined.compression, Compression::None);
        assert_eq!(refined.timeout, Duration::from_millis(2_500));
        assert_eq!(refined.interval, Duration::from_secs(5));
        let mut asked = asked("http://a:1");
        (asked.compression, asked.timeout) =
            (Some(Compression::Gzip), Some(Duration::from_secs(1)));
        let settings = Settings::new(asked, &environment(&variables)).expect("sound");
        assert_eq!(settings.compression, Compression::Gzip);
        assert_eq!(settings.timeout, Duration::from_secs(1));
    }

    #[test]
    fn attributes_are_decoded() {
        let variables = [(RESOURCE, "deployment.environment.name=a%20b, k=c=d,"), (SERVICE, "s")];
        let settings = settings("env", &variables);
        let wanted = [("deployment.environment.name", "a b"), ("k", "c=d")];
        assert_eq!(settings.resource, wanted.map(|(key, value)| (key.into(), value.into())));
        assert_eq!(settings.service_name.as_deref(), Some("s"));
    }

    #[test]
    fn what_is_wrong_is_named_without_secrets() {
        for (variable, value, words) in [
            (PROTOCOL, "grpc", "4318"),
            (PROTOCOL, "http/protobuff", "did you mean http/protobuf?"),
            (PROTOCOL, "http/json", "http/protobuf"),
            (ENDPOINT, "collector", "http://HOST"),
            (LOGS_ENDPOINT, "http://u:secret@c:1", "otlp-headers-file"),
            (HEADERS, "authorization:secret", "header 1"),
            (COMPRESSION, "zstd", "gzip or none"),
            (TIMEOUT, "10s", "milliseconds"),
            (INTERVAL, "0", "milliseconds"),
            (RESOURCE, "secret", "key=value"),
            (CLIENT_KEY, "/k", "needs --otlp-client-certificate"),
            (CLIENT_CERTIFICATE, "/c", "needs --otlp-client-key"),
        ] {
            let problems = Settings::new(asked("env"), &environment(&[(variable, value)]));
            let problems = problems.expect_err(variable);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(words), "{problems:?}");
            assert!(!problems[0].contains("secret"), "{problems:?}");
        }
        let several = environment(&[(TIMEOUT, "x"), (COMPRESSION, "x")]);
        assert_eq!(Settings::new(asked("env"), &several).expect_err("wrong").len(), 2);
    }

    #[test]
    fn empty_variables_and_those_of_others_are_none() {
        let none = environment(&[(PROTOCOL, ""), ("OTEL_TRACES_SAMPLER", "always_on")]);
        assert_eq!(format!("{none:?}"), "{}");
        assert_eq!(
            format!("{:?}", environment(&[(HEADERS, "a=secret")])),
            format!("{{{HEADERS:?}}}")
        );
    }
}
