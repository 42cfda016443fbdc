//! Tests of the exported names and values against OpenTelemetry's conventions.

use std::{collections::BTreeMap, process, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, SeverityNumber},
    metrics::v1::{metric::Data, number_data_point},
};
use prometheus::proto::{Bucket, Metric, MetricFamily, MetricType};
use serde_json::json;
use socktrace_diagnosis::advice::Icmp;
use socktrace_ebpf::{EventKind, Flags, Role, Sigpipe, TcpState};
use socktrace_otlp::{Counts, Dropped, Queue, Scope};

use super::{record, resource, *};
use crate::{
    owner::{Container, Pod, Qos, Runtime, Service},
    record::{
        Flow, Record, Rst,
        tests::{record as decoded, reset_event},
    },
    sinks::Sink,
};

/// Attributes as JSON, so that texts and numbers compare alike.
fn values_of(attributes: &[KeyValue]) -> BTreeMap<String, serde_json::Value> {
    let value = |value: &Option<AnyValue>| match value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::IntValue(number)) => json!(number),
        Some(Value::BoolValue(is)) => json!(is),
        other => panic!("{other:?}"),
    };
    let values_of: BTreeMap<_, _> =
        attributes.iter().map(|one| (one.key.clone(), value(&one.value))).collect();
    assert_eq!(values_of.len(), attributes.len(), "a name is there twice: {attributes:?}");
    values_of
}

fn body(log: &LogRecord) -> String {
    match log.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// A reset server connection, with every detail known.
fn reset() -> Record {
    let mut record = decoded(reset_event());
    record.role = Some(Role::Server);
    record.flow = Flow::of([1, 2]);
    record.rst = Some(Rst { seq: 4_000_000_000, ack: 7 });
    record.service = Arc::new(Service::from_cgroup_path("/system.slice/web.service"));
    record
}

fn of(record: &Record) -> LogRecord {
    record::of_record(record, false).expect("a log record")
}

fn host() -> Host {
    Host {
        name: Some("node-1".to_owned()),
        id: Some("0123".to_owned()),
        more: vec![
            ("deployment.environment.name".into(), "prod".into()),
            ("k8s.node.name".into(), "node-1.example".into()),
            ("k8s.namespace.name".into(), "monitoring".into()),
            ("service.name".into(), "tracer".into()),
        ],
        own_name: None,
    }
}

#[test]
fn a_failure_has_the_names_of_the_conventions() {
    let log = of(&reset());
    assert_eq!(log.event_name, "socktrace.socket.failure");
    assert_eq!(log.severity_number, SeverityNumber::Error as i32);
    assert_eq!(log.severity_text, "ERROR");
    assert!(body(&log).contains("RST"), "{}", body(&log));
    assert!(log.observed_time_unix_nano >= log.time_unix_nano);
    let values_of = values_of(&log.attributes);
    for (name, value) in [
        ("error.type", json!("ECONNRESET")),
        ("network.transport", json!("tcp")),
        ("network.type", json!("ipv4")),
        ("network.local.address", json!("10.0.0.7")),
        ("network.local.port", json!(443)),
        ("network.peer.address", json!("10.0.0.9")),
        ("network.peer.port", json!(50_412)),
        ("network.connection.state", json!("established")),
        ("server.address", json!("10.0.0.7")),
        ("server.port", json!(443)),
        ("client.address", json!("10.0.0.9")),
        ("client.port", json!(50_412)),
        ("process.pid", json!(81)),
        ("process.executable.name", json!("nginx")),
        ("process.real_user.id", json!(33)),
        ("process.linux.cgroup", json!("/system.slice/web.service")),
        ("thread.id", json!(82)),
        ("thread.name", json!("nginx")),
        ("socktrace.cause", json!("reset_by_peer")),
        ("socktrace.call", json!("read_or_write")),
        ("socktrace.direction", json!("peer")),
        ("socktrace.severity", json!("failure")),
        ("socktrace.role", json!("server")),
        ("socktrace.flow", json!("081a8d636a7bc395")),
        ("socktrace.rst.seq", json!(4_000_000_000_u32)),
        ("socktrace.rst.ack", json!(7)),
        ("socktrace.netns", json!(4_026_531_840_u32)),
        ("socktrace.owner.source", json!("opener")),
        ("socktrace.systemd.unit", json!("web.service")),
    ] {
        assert_eq!(values_of.get(name), Some(&value), "{name}: {values_of:?}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let mut event = reset_event();
    (event.tgid, event.tid, event.signature.family) = (0, 0, 0);
    let values_of = values_of(&of(&decoded(event)).attributes);
    for name in
        ["process.pid", "socktrace.flow", "socktrace.rst.seq", "server.port", "network.type"]
    {
        assert_eq!(values_of.get(name), None, "{name}");
    }
    assert_eq!(values_of.get("network.local.address"), None, "a socket without a family has none");
}

#[test]
fn names_and_severities_follow_the_finding() {
    let severity = |change: &dyn Fn(&mut socktrace_ebpf::Event)| {
        let mut event = reset_event();
        change(&mut event);
        let log = of(&decoded(event));
        (log.event_name, log.severity_number)
    };
    let orphan = severity(&|event| {
        event.signature.state = TcpState::FinWait1 as u8;
        event.signature.flags = Flags::ORPHAN.0;
    });
    assert_eq!(orphan, ("socktrace.socket.failure".to_owned(), SeverityNumber::Info as i32));
    let killed = severity(&|event| {
        event.signature.kind = EventKind::Write as u8;
        event.signature.state = TcpState::Close as u8;
        event.signature.errno = u16::try_from(nix::libc::EPIPE).expect("small");
        event.signature.sigpipe = Sigpipe::Kills as u8;
        event.signature.flags = Flags::REPORTED.0;
    });
    assert_eq!(killed.1, SeverityNumber::Fatal as i32);
    let accepted = severity(&|event| {
        event.signature.kind = EventKind::Accept as u8;
        event.signature.state = TcpState::Close as u8;
        event.signature.flags = Flags::UNACCEPTED.with(Flags::DELIVERY).0;
    });
    assert_eq!(accepted.0, "socktrace.accept.reset");
    let mut retransmission = reset_event();
    retransmission.signature.kind = EventKind::Retransmission as u8;
    (retransmission.signature.origin, retransmission.signature.errno) =
        (socktrace_ebpf::Origin::RetransmitTimer as u8, 0);
    assert!(record::of_record(&decoded(retransmission), false).is_none());
}

#[test]
fn addresses_can_be_left_out() {
    let mut record = reset();
    record.icmp = Some(Icmp { kind: 3, code: 1, router: [192, 0, 2, 1].into() });
    record.path = Some("/run/secret.sock".to_owned());
    let log = record::of_record(&record, true).expect("a log record");
    let values_of = values_of(&log.attributes);
    let text = format!("{values_of:?} {}", body(&log));
    for secret in ["10.0.0.", "192.0.2.1", "/run/secret.sock"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(values_of["network.local.port"], json!(443));
    assert_eq!(values_of["socktrace.icmp.type"], json!(3));
    let sentence = "from 10.0.0.9 and ::ffff:10.0.0.7 by 192.0.2.1 to /run/secret.sock".to_owned();
    assert_eq!(
        redact::redact(sentence, &record),
        "from (address) and ::ffff:(address) by (address) to (address)"
    );
}

/// The shop's cart, in a pod.
fn pod(claimed: bool) -> Service {
    Service {
        unit: Some("kubelet.service".to_owned()),
        container: Some(Container {
            id: "3f2a".to_owned(),
            name: Some("cart".to_owned()),
            runtime: Some(Runtime::CriO),
            claimed,
        }),
        pod: Some(Pod {
            uid: "8712f785".to_owned(),
            name: Some("cart-0".to_owned()),
            namespace: Some("shop".to_owned()),
            qos: Qos::Burstable,
            claimed,
        }),
        ..Service::default()
    }
}

#[test]
fn a_resource_is_the_workload() {
    let of = |service: &Service, program| {
        values_of(&resource::workload(&host(), service, program).attributes)
    };
    let cart = of(&pod(false), Some("java"));
    for (name, value) in [
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("service.instance.id", "3f2a"),
        ("container.id", "3f2a"),
        ("container.name", "cart"),
        ("container.runtime.name", "cri-o"),
        ("k8s.pod.uid", "8712f785"),
        ("k8s.pod.name", "cart-0"),
        ("k8s.namespace.name", "shop"),
        ("k8s.container.name", "cart"),
        ("k8s.node.name", "node-1.example"),
        ("host.name", "node-1"),
        ("host.id", "0123"),
        ("os.type", "linux"),
        ("deployment.environment.name", "prod"),
    ] {
        assert_eq!(cart.get(name), Some(&json!(value)), "{name}");
    }
    assert!(cart.contains_key("host.arch"));
    // A claimed pod provides neither a name nor a container.
    let claimed = of(&pod(true), None);
    assert_eq!(claimed["service.name"], json!("kubelet.service"));
    assert!(!claimed.keys().any(|key| key.starts_with("k8s.pod") || key.starts_with("container")));
    let unit = of(&Service::from_cgroup_path("/system.slice/web.service"), Some("nginx"));
    assert_eq!(unit["service.name"], json!("web.service"));
    assert_eq!(unit["service.instance.id"], json!("0123/web.service"));
    assert!(!unit.contains_key("k8s.namespace.name"), "that is where socktrace itself runs");
    assert_eq!(of(&Service::default(), Some("nc"))["service.name"], json!("unknown_service:nc"));
    assert_eq!(of(&Service::default(), None)["service.name"], json!("unknown_service"));
}

#[test]
fn its_own_resource_is_what_it_is_called() {
    let name = |host: &Host| values_of(&resource::own(host).attributes)["service.name"].clone();
    assert_eq!(name(&Host::default()), json!("socktrace"));
    assert_eq!(name(&host()), json!("tracer"));
    assert_eq!(name(&Host { own_name: Some("mine".to_owned()), ..host() }), json!("mine"));
}

fn sink(bytes: usize) -> (OtlpSink, Arc<Queue>) {
    let queue = Arc::new(Queue::new(bytes, Arc::<Counts>::default()));
    (OtlpSink::new(Arc::clone(&queue), Resources::new(host()), false), queue)
}

#[test]
fn its_own_failures_are_counted_and_not_sent() {
    let (mut sink, queue) = sink(1 << 20);
    let mut event = reset_event();
    event.tgid = process::id();
    sink.record(&decoded(event));
    sink.record(&reset());
    let numbers = queue.counts().read();
    assert_eq!((numbers.own, numbers.queued_records), (1, 1));
}

#[test]
fn a_full_queue_holds_nothing_up() {
    let (mut sink, queue) = sink(64 << 10);
    for _ in 0..1_000 {
        assert!(sink.takes_records() && !sink.is_busy());
        sink.record(&reset());
    }
    let numbers = queue.counts().read();
    assert!(numbers.queued_bytes <= 64 << 10, "{numbers:?}");
    assert_eq!(numbers.queued_records + numbers.dropped(Dropped::QueueFull), 1_000);
}

#[test]
fn what_is_lost_is_said_once() {
    let (mut sink, queue) = sink(1 << 20);
    sink.lost(7);
    sink.flush();
    sink.flush();
    assert_eq!(queue.counts().read().queued_records, 1);
    sink.lost(9);
    sink.flush();
    assert_eq!(queue.counts().read().queued_records, 2);
    let lost = values_of(&record::of_lost(2, "ring_buffer_full").attributes);
    assert_eq!(lost["socktrace.lost.count"], json!(2));
}

/// A family with one series of this value.
fn counter(name: &str, labels: &[(&str, &str)], value: u64) -> MetricFamily {
    let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
    let counter = prometheus::IntCounterVec::new(prometheus::Opts::new(name, "Help."), &names);
    let counter = counter.expect("sound");
    counter.with_label_values(&values).inc_by(value);
    prometheus::core::Collector::collect(&counter).remove(0)
}

fn histogram() -> MetricFamily {
    let bucket = |bound, count| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = prometheus::proto::Histogram::default();
    histogram.set_bucket(vec![bucket(0.2, 1), bucket(0.4, 1), bucket(0.8, 4)]);
    histogram.set_sample_count(6);
    histogram.set_sample_sum(7.5);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name("socktrace_retransmission_timeout_seconds".to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}

#[test]
fn metrics_are_the_numbers_of_the_page() {
    let labels = [
        ("cause", "reset_by_peer"),
        ("errno", "ECONNRESET"),
        ("family", "ipv4"),
        ("protocol", "tcp"),
    ];
    let page = [
        counter("socktrace_socket_errors_total", &labels, 5),
        counter("socktrace_resets_sent_total", &[("reason", "tcp_abort_on_close")], 11),
        counter("socktrace_hook_missed_total", &[("hook", "tcp_done")], 3),
        histogram(),
    ];
    let since = Since::now(Scope::new(SCOPE, "1.2.3"), host());
    let ExportMetricsServiceRequest { resource_metrics } = request(&since, &page);
    let scope = &resource_metrics[0].scope_metrics[0];
    assert_eq!(scope.scope.as_ref().expect("a scope").name, "socktrace");
    let found: BTreeMap<_, _> =
        scope.metrics.iter().map(|metric| (metric.name.as_str(), metric)).collect();
    let names: Vec<_> = found.keys().copied().collect();
    let wanted =
        ["socktrace.resets.sent", "socktrace.retransmission.timeout", "socktrace.socket.errors"];
    assert_eq!(names, wanted);

    let errors = found["socktrace.socket.errors"];
    assert_eq!((errors.unit.as_str(), errors.description.as_str()), ("{error}", "Help."));
    let Some(Data::Sum(sum)) = &errors.data else { panic!("{errors:?}") };
    // 2 is cumulative.
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let point = &sum.data_points[0];
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(5)));
    assert!(point.start_time_unix_nano > 0 && point.time_unix_nano >= point.start_time_unix_nano);
    let values_of = values_of(&point.attributes);
    for (name, value) in [
        ("error.type", "ECONNRESET"),
        ("network.transport", "tcp"),
        ("network.type", "ipv4"),
        ("socktrace.cause", "reset_by_peer"),
    ] {
        assert_eq!(values_of[name], json!(value), "{name}");
    }

    let Some(Data::Histogram(timeouts)) = &found["socktrace.retransmission.timeout"].data else {
        panic!("no histogram");
    };
    let point = &timeouts.data_points[0];
    assert_eq!(point.explicit_bounds, [0.2, 0.4, 0.8]);
    assert_eq!(point.bucket_counts, [1, 0, 3, 2]);
    assert_eq!((point.count, point.sum), (6, Some(7.5)));
}
