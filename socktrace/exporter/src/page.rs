//! Content negotiation for the metrics page: format and compression.

use std::io::Write as _;

use anyhow::Context as _;
use axum::{
    body::Bytes,
    http::{
        HeaderMap,
        header::{ACCEPT, ACCEPT_ENCODING},
    },
};
use flate2::{Compression, write::GzEncoder};
use prometheus::proto::MetricFamily;

use super::quality::{Choice, choices};
use crate::format::Format;

/// The page variant that a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

impl Wanted {
    /// The variant requested by these headers. A client that accepts neither format gets the
    /// Prometheus format, as from other exporters.
    pub(super) fn by(headers: &HeaderMap) -> Self {
        let format = format(&choices(headers, &ACCEPT));
        Self { format, gzip: accepts_gzip(&choices(headers, &ACCEPT_ENCODING)) }
    }

    /// Encodes the page.
    pub(super) fn encode(self, families: &[MetricFamily]) -> anyhow::Result<Bytes> {
        let text = self.format.encode(families).context("cannot write the metrics down")?;
        if !self.gzip {
            return Ok(text.into());
        }
        // The fast level is enough: metrics are repetitive, so a higher one gains little.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes())?;
        Ok(encoder.finish()?.into())
    }
}

/// The preferred format. `OpenMetrics` is used only if named explicitly or preferred.
fn format(accepted: &[Choice<'_>]) -> Format {
    let liking = |media_type: &str, version: &str| {
        let (group, _) = media_type.split_once('/').unwrap_or((media_type, ""));
        let named = accepted.iter().filter(|choice| {
            choice.is(media_type)
                && choice.parameter("version").is_none_or(|asked| asked == version)
        });
        let groups = accepted.iter().filter(|choice| choice.is(&format!("{group}/*")));
        let any = accepted.iter().filter(|choice| choice.is("*/*"));
        // The most specific range counts; among equally specific ones, the highest quality.
        let best = |quality: u16, choice: &Choice<'_>| quality.max(choice.quality);
        let precise = [named.collect::<Vec<_>>(), groups.collect(), any.collect()];
        let (precision, ranges) = precise.iter().enumerate().find(|(_, of)| !of.is_empty())?;
        let quality = ranges.iter().fold(0, |quality, choice| best(quality, choice));
        Some((quality, precision))
    };
    let text = liking("text/plain", "0.0.4").unwrap_or((0, usize::MAX));
    match liking("application/openmetrics-text", "1.0.0") {
        Some((quality, 0)) if quality > 0 && quality >= text.0 => Format::OpenMetrics,
        Some((quality, _)) if quality > text.0 => Format::OpenMetrics,
        _ => Format::Text,
    }
}

/// Whether gzip is accepted and preferred at least as much as no compression.
fn accepts_gzip(accepted: &[Choice<'_>]) -> bool {
    let named = |name: &str| accepted.iter().find(|choice| choice.is(name)).map(|it| it.quality);
    let gzip = named("gzip").or_else(|| named("x-gzip")).or_else(|| named("*")).unwrap_or(0);
    gzip > 0 && gzip >= named("identity").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::http::{HeaderName, HeaderValue};
    use flate2::read::GzDecoder;

    use super::*;

    fn wanted(field: &HeaderName, value: &'static str) -> Wanted {
        Wanted::by(&HeaderMap::from_iter([(field.clone(), HeaderValue::from_static(value))]))
    }

    #[test]
    fn the_better_liked_format_is_sent() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\", */*", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0.3, text/plain;q=0.4", Format::Text),
            ("application/openmetrics-text;q=0.4, text/*;q=0.3", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0, */*", Format::Text),
            ("application/*, text/plain;q=0.1", Format::OpenMetrics),
            ("text/plain;q=0, */*", Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=0.2, text/plain;q=0.9", Format::Text),
            // Headers of Prometheus 2.50 and 3.0.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                 version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
                 escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(wanted(&ACCEPT, accept).format, format, "{accept}");
        }
        assert_eq!(Wanted::by(&HeaderMap::new()), Wanted { format: Format::Text, gzip: false });
    }

    #[test]
    fn gzip_is_for_those_who_ask() {
        for (accept, gzip) in [
            ("gzip", true),
            ("x-gzip, identity", true),
            ("zstd, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("gzip;q=0.5, identity", false),
            ("identity", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(wanted(&ACCEPT_ENCODING, accept).gzip, gzip, "{accept}");
        }
    }

    #[test]
    fn compressed_pages_are_the_same() {
        let page = |gzip| Wanted { format: Format::OpenMetrics, gzip }.encode(&[]).expect("a page");
        let mut unpacked = String::new();
        GzDecoder::new(&*page(true)).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked.as_bytes(), &*page(false));
    }
}
