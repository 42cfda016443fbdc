//! Text formats of metrics.

use prometheus::{TextEncoder, proto::MetricFamily};

use super::openmetrics;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Format {
    /// Media type of a page in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Encodes families in this format.
    ///
    /// # Errors
    /// When a family has no name or no metric.
    pub fn encode(self, families: &[MetricFamily]) -> prometheus::Result<String> {
        match self {
            Self::Text => TextEncoder::new().encode_to_string(families),
            Self::OpenMetrics => openmetrics::encode(families),
        }
    }
}
