//! Meaning of a collector's answers.

use std::time::{Duration, SystemTime};

use hyper::{HeaderMap, StatusCode, header::RETRY_AFTER};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
};
use prost::Message as _;

use super::{endpoint::Signal, retry::retry_after};

/// Number of characters shown of a collector's message.
const SHOWN: usize = 200;

/// Outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Accepted, except for a number of records, with the collector's explanation.
    Taken { rejected: u64, message: String },
    /// Worth a retry, after this time if the collector requested one.
    Later { after: Option<Duration>, why: String },
    /// A retry would fail again.
    Refused { why: String },
}

/// Evaluates an answer.
pub(crate) fn outcome(
    signal: Signal,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> Outcome {
    if status.is_success() {
        let (rejected, message) = partial_success(signal, body);
        return Outcome::Taken { rejected, message };
    }
    let why = format!("the collector answered {status}");
    // Retryable according to OTLP/HTTP; all other errors would only recur.
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Outcome::Later { after: after.and_then(|text| retry_after(text, now)), why }
        }
        _ => Outcome::Refused { why },
    }
}

/// Number of rejected records, and the reason.
fn partial_success(signal: Signal, body: &[u8]) -> (u64, String) {
    let found = match signal {
        Signal::Logs => ExportLogsServiceResponse::decode(body)
            .map(|answer| answer.partial_success)
            .map(|partial| partial.map(|it| (it.rejected_log_records, it.error_message))),
        Signal::Metrics => ExportMetricsServiceResponse::decode(body)
            .map(|answer| answer.partial_success)
            .map(|partial| partial.map(|it| (it.rejected_data_points, it.error_message))),
    };
    // An answer that is not protobuf does not report rejections.
    let (rejected, message) = found.ok().flatten().unwrap_or_default();
    let is_shown = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
    (u64::try_from(rejected).unwrap_or(0), message.chars().filter(is_shown).take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    fn of(status: u16, retry_after: Option<&str>, body: &[u8]) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        outcome(Signal::Logs, status, &headers, body, SystemTime::now())
    }

    #[test]
    fn what_is_passing_is_tried_again() {
        for status in [429, 502, 503, 504] {
            let after = |after| match of(status, after, b"") {
                Outcome::Later { after, .. } => after,
                other => panic!("{status}: {other:?}"),
            };
            assert_eq!(after(None), None);
            assert_eq!(after(Some("7")), Some(Duration::from_secs(7)));
            assert_eq!(after(Some("soon")), None);
        }
        for status in [301, 400, 401, 403, 404, 413, 415, 500, 501] {
            assert!(matches!(of(status, Some("7"), b""), Outcome::Refused { .. }), "{status}");
        }
    }

    #[test]
    fn rejections_are_read() {
        let partial = |rejected, message: &str| {
            let partial_success = Some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: message.to_owned(),
            });
            ExportLogsServiceResponse { partial_success }.encode_to_vec()
        };
        let taken = |rejected, message: &str| Outcome::Taken { rejected, message: message.into() };
        assert_eq!(of(200, None, b""), taken(0, ""));
        assert_eq!(of(200, None, &partial(3, "too\nold")), taken(3, "tooold"));
        assert_eq!(of(200, None, &partial(-3, "")), taken(0, ""));
        // A proxy's page is not a valid answer.
        assert_eq!(of(200, None, b"<html>"), taken(0, ""));
    }
}
