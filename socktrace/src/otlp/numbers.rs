//! Metrics in OpenTelemetry's data model, converted from the Prometheus page so that the two agree.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point::Value,
    },
};
use prometheus::proto::{self, Bucket, MetricFamily, MetricType};
use socktrace_otlp::Scope;

use super::{attributes::Attributes, host::Host, resource};

/// A metric family of the page, and its OpenTelemetry name.
struct Named {
    family: &'static str,
    name: &'static str,
    unit: &'static str,
    /// Labels and their OpenTelemetry names; the others get the prefix `socktrace.`.
    labels: &'static [(&'static str, &'static str)],
}

/// Labels with a name in the semantic conventions.
const OF_SOCKETS: &[(&str, &str)] =
    &[("protocol", "network.transport"), ("family", "network.type"), ("errno", "error.type")];
const OF_RESETS: &[(&str, &str)] = &[("reason", "socktrace.rst.reason")];
const OF_DROPS: &[(&str, &str)] = &[("reason", "socktrace.lost.reason")];

/// Metrics to send. The others describe socktrace itself and appear only on the page.
const SENT: &[Named] = &[
    Named {
        family: "socktrace_socket_errors_total",
        name: "socktrace.socket.errors",
        unit: "{error}",
        labels: OF_SOCKETS,
    },
    Named {
        family: "socktrace_resets_sent_total",
        name: "socktrace.resets.sent",
        unit: "{reset}",
        labels: OF_RESETS,
    },
    Named {
        family: "socktrace_timeouts_total",
        name: "socktrace.timeouts",
        unit: "{timeout}",
        labels: OF_SOCKETS,
    },
    Named {
        family: "socktrace_retransmission_timeout_seconds",
        name: "socktrace.retransmission.timeout",
        unit: "s",
        labels: &[],
    },
    Named {
        family: "socktrace_events_lost_total",
        name: "socktrace.events.lost",
        unit: "{event}",
        labels: OF_DROPS,
    },
    Named {
        family: "socktrace_otlp_dropped_total",
        name: "socktrace.otlp.dropped",
        unit: "{record}",
        labels: OF_DROPS,
    },
    Named {
        family: "socktrace_otlp_unjoined_total",
        name: "socktrace.otlp.unjoined",
        unit: "{event}",
        labels: &[],
    },
];

/// Start of counting, and the scope and host of the metrics.
pub(crate) struct Since {
    start: u64,
    scope: Scope,
    host: Host,
}

impl Since {
    /// Starts counting now.
    pub(crate) fn now(scope: Scope, host: Host) -> Self {
        Self { start: now(), scope, host }
    }
}

/// Converts a page to an export request.
pub(crate) fn request(since: &Since, page: &[MetricFamily]) -> ExportMetricsServiceRequest {
    let times = Times { start: since.start, now: now() };
    let metrics = SENT.iter().filter_map(|named| {
        // The page lacks families that are not measured.
        let family = page.iter().find(|family| family.name() == named.family)?;
        metric(named, family, times)
    });
    let scope_metrics = vec![ScopeMetrics {
        scope: Some(since.scope.message()),
        metrics: metrics.collect(),
        ..ScopeMetrics::default()
    }];
    let resource = Some(resource::own(&since.host));
    let all = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![all] }
}

#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(0)
}

/// Converts a metric; `None` if it has no series, because a metric needs at least one point.
fn metric(named: &Named, family: &MetricFamily, times: Times) -> Option<Metric> {
    let series = family.get_metric();
    if series.is_empty() {
        return None;
    }
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    let data = if family.get_field_type() == MetricType::HISTOGRAM {
        let points = series.iter().map(|one| histogram(named, one, times));
        Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality })
    } else {
        let points = series.iter().map(|one| number(named, one, times));
        let data_points = points.collect();
        Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true })
    };
    Some(Metric {
        name: named.name.to_owned(),
        description: family.help().to_owned(),
        unit: named.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a count, exact up to 2^53")]
fn number(named: &Named, series: &proto::Metric, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(named, series),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(Value::AsInt(series.get_counter().get_value() as i64)),
        ..NumberDataPoint::default()
    }
}

fn histogram(named: &Named, series: &proto::Metric, times: Times) -> HistogramDataPoint {
    let observed = series.get_histogram();
    let buckets = observed.get_bucket();
    let count = observed.get_sample_count();
    // Prometheus counts everything below a bound, OpenTelemetry what lies between two bounds.
    let cumulative = buckets.iter().map(Bucket::cumulative_count).chain([count]);
    let mut before = 0;
    let bucket_counts = cumulative.map(|all| all - std::mem::replace(&mut before, all)).collect();
    HistogramDataPoint {
        attributes: attributes(named, series),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count,
        sum: Some(observed.get_sample_sum()),
        bucket_counts,
        explicit_bounds: buckets.iter().map(Bucket::upper_bound).collect(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(named: &Named, series: &proto::Metric) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    for label in series.get_label() {
        let known = named.labels.iter().find(|(known, _)| *known == label.name());
        match known {
            Some((_, name)) => attributes.text(name, label.value()),
            None => attributes.text(&format!("socktrace.{}", label.name()), label.value()),
        }
    }
    attributes.0
}
