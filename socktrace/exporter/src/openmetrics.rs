//! Encoder for the `OpenMetrics` 1.0 text format.

use std::fmt::{self, Display, Formatter, Write as _};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Encodes families as a page.
///
/// # Errors
/// When a family has a type other than counter, gauge and histogram.
pub(super) fn encode(families: &[MetricFamily]) -> prometheus::Result<String> {
    let mut page = String::new();
    for family in families {
        encode_family(&mut page, family)?;
    }
    page.push_str("# EOF\n");
    Ok(page)
}

fn encode_family(page: &mut String, family: &MetricFamily) -> prometheus::Result<()> {
    let kind = family.get_field_type();
    // The name of a counter's family lacks the suffix of its samples.
    let name = match kind {
        MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
        _ => family.name(),
    };
    let word = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => {
            let text = format!("{name}: OpenMetrics is not made of {other:?}");
            return Err(prometheus::Error::Msg(text));
        }
    };
    line(page, format_args!("# TYPE {name} {word}"));
    if !family.help().is_empty() {
        line(page, format_args!("# HELP {name} {}", escape(family.help())));
    }
    for metric in family.get_metric() {
        match kind {
            MetricType::COUNTER => {
                let value = metric.get_counter().get_value();
                sample(page, name, "_total", metric, None, Number(value));
            }
            MetricType::GAUGE => {
                sample(page, name, "", metric, None, Number(metric.get_gauge().get_value()));
            }
            _ => histogram(page, name, metric),
        }
    }
    Ok(())
}

fn histogram(page: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    for bucket in finite {
        // Debug formatting gives whole numbers as `1.0`, the canonical form of a bound.
        let bound = format!("{:?}", bucket.upper_bound());
        sample(page, name, "_bucket", metric, Some(("le", &bound)), bucket.cumulative_count());
    }
    let count = histogram.get_sample_count();
    sample(page, name, "_bucket", metric, Some(("le", "+Inf")), count);
    sample(page, name, "_sum", metric, None, Number(histogram.get_sample_sum()));
    sample(page, name, "_count", metric, None, count);
}

fn sample(
    page: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    extra: Option<(&str, &str)>,
    value: impl Display,
) {
    let own = metric.get_label().iter().map(|label: &LabelPair| (label.name(), label.value()));
    let labels: Vec<String> =
        own.chain(extra).map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    line(page, format_args!("{name}{suffix}{labels} {value}"));
}

fn line(page: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _written: fmt::Result = writeln!(page, "{text}");
}

/// A number that may be infinite.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// Label values and help texts have the same escapes.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use prometheus::{
        Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
    };

    use super::*;

    fn page(collector: impl Collector + 'static) -> String {
        let registry = Registry::new();
        registry.register(Box::new(collector)).expect("a new registry");
        encode(&registry.gather()).expect("known kinds")
    }

    #[test]
    fn a_counter_has_its_suffix_on_samples_only() {
        let counter = IntCounterVec::new(Opts::new("x_total", "Says \"a\\b\"\nand c."), &["l"]);
        let counter = counter.expect("sound");
        counter.with_label_values(&["a\"\\\n"]).inc_by(7);
        assert_eq!(
            page(counter),
            "# TYPE x counter\n# HELP x Says \\\"a\\\\b\\\"\\nand c.\nx_total{l=\"a\\\"\\\\\\n\"} 7\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_has_canonical_bounds() {
        let options = HistogramOpts::new("t_seconds", "T.").buckets(vec![0.5, 1.0]);
        let histogram = Histogram::with_opts(options).expect("sound");
        for value in [0.25, 0.75, 8.0] {
            histogram.observe(value);
        }
        assert_eq!(
            page(histogram),
            "# TYPE t_seconds histogram\n# HELP t_seconds T.\nt_seconds_bucket{le=\"0.5\"} 1\n\
             t_seconds_bucket{le=\"1.0\"} 2\nt_seconds_bucket{le=\"+Inf\"} 3\nt_seconds_sum 9\n\
             t_seconds_count 3\n# EOF\n"
        );
    }

    #[test]
    fn a_gauge_keeps_its_name() {
        let gauge = IntGauge::new("g_total", "G.").expect("sound");
        gauge.set(-3);
        assert_eq!(page(gauge), "# TYPE g_total gauge\n# HELP g_total G.\ng_total -3\n# EOF\n");
        assert_eq!(encode(&[]).expect("nothing"), "# EOF\n");
    }

    #[test]
    fn values_are_written_as_go_would() {
        let written = |value: f64| Number(value).to_string();
        assert_eq!(written(f64::INFINITY), "+Inf");
        assert_eq!(written(f64::NEG_INFINITY), "-Inf");
        assert_eq!(written(f64::NAN), "NaN");
        assert_eq!(written(0.25), "0.25");
    }
}
