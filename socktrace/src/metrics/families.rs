//! Builds metric families.

use std::time::Duration;

use prometheus::{
    CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector,
    proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::kernel::measures::Buckets;

/// The families of one scrape.
pub(super) struct Families {
    registry: Registry,
    histograms: Vec<MetricFamily>,
}

/// A histogram's numbers in base units.
pub(super) struct Observed<'a> {
    /// As counted by the kernel programs.
    pub(super) buckets: &'a Buckets,
    pub(super) bounds: &'a [u32],
    /// Number of the kernel programs' units in one base unit.
    pub(super) scale: u32,
}

impl Families {
    pub(super) fn new() -> Self {
        Self { registry: Registry::new(), histograms: Vec::new() }
    }

    /// Registers a counter of whole numbers.
    ///
    /// # Errors
    /// When the name or a label is invalid, or the name is taken; the same below.
    pub(super) fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers a counter of seconds.
    pub(super) fn seconds(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<CounterVec> {
        self.register(CounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers a gauge of whole numbers.
    pub(super) fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers a duration as a gauge.
    pub(super) fn duration(
        &self,
        name: &str,
        help: &str,
        duration: Duration,
    ) -> prometheus::Result<()> {
        let gauge = self.register(GaugeVec::new(Opts::new(name, help), &[])?)?;
        gauge.with_label_values::<&str>(&[]).set(duration.as_secs_f64());
        Ok(())
    }

    /// Registers a collector of the library.
    pub(super) fn collect(&self, collector: impl Collector + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// Adds histograms that differ in the value of a label, or one without labels.
    pub(super) fn histogram(&mut self, name: &str, help: &str, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        self.histograms.push(family);
    }

    /// Returns all families, by name.
    pub(super) fn finish(self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        families.extend(self.histograms);
        families.sort_by(|a, b| a.name().cmp(b.name()));
        families
    }

    fn register<T: Collector + Clone + 'static>(&self, collector: T) -> prometheus::Result<T> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

impl Observed<'_> {
    /// Converts it to a metric with these labels.
    pub(super) fn metric(&self, labels: &[(&str, &str)]) -> Metric {
        let scaled = |value: f64| value / f64::from(self.scale);
        let mut count = 0;
        let mut buckets = Vec::new();
        for (bound, counted) in self.bounds.iter().zip(&self.buckets.counts) {
            count += counted;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(count);
            bucket.set_upper_bound(scaled(f64::from(*bound)));
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(self.buckets.counts.iter().sum());
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
        histogram.set_sample_sum(scaled(self.buckets.sum as f64));
        let labels = labels.iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        let mut labels: Vec<_> = labels.collect();
        // As the library sorts the labels of other kinds of metrics.
        labels.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let mut metric = Metric::from_label(labels);
        metric.set_histogram(histogram);
        metric
    }
}

#[cfg(test)]
mod tests {
    use socktrace_exporter::Format;

    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_in_base_units() {
        let buckets = Buckets { counts: vec![1, 0, 2, 4], sum: 2_550 };
        let observed = Observed { buckets: &buckets, bounds: &[100, 200, 400], scale: 1_000 };
        let mut families = Families::new();
        families.histogram("t_seconds", "T.", vec![observed.metric(&[("of", "x")])]);
        assert_eq!(
            Format::Text.encode(&families.finish()).expect("sound"),
            "# HELP t_seconds T.\n\
             # TYPE t_seconds histogram\n\
             t_seconds_bucket{of=\"x\",le=\"0.1\"} 1\n\
             t_seconds_bucket{of=\"x\",le=\"0.2\"} 1\n\
             t_seconds_bucket{of=\"x\",le=\"0.4\"} 3\n\
             t_seconds_bucket{of=\"x\",le=\"+Inf\"} 7\n\
             t_seconds_sum{of=\"x\"} 2.55\n\
             t_seconds_count{of=\"x\"} 7\n"
        );
    }

    #[test]
    fn families_are_in_order_of_their_names() {
        let mut families = Families::new();
        families.counter("b_total", "B.", &[]).expect("sound").with_label_values::<&str>(&[]).inc();
        families.histogram("a_seconds", "A.", Vec::new());
        families.gauge("c", "C.", &[]).expect("sound").with_label_values::<&str>(&[]).set(1);
        let families = families.finish();
        let names: Vec<_> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, ["a_seconds", "b_total", "c"]);
    }
}
