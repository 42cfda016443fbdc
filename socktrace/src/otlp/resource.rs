//! Resources: the workloads that records are about.

use std::{borrow::Cow, num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;
use socktrace_otlp::Encoded;

use super::{SCOPE, attributes::Attributes, host::Host};
use crate::owner::Service;

/// Maximum number of cached encodings.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// A service, and the program if the service has no name.
type Workload = (Arc<Service>, Option<Arc<str>>);

/// Cache of encoded resources.
pub(crate) struct Resources {
    host: Host,
    own: Arc<[u8]>,
    known: LruCache<Workload, Arc<[u8]>>,
}

impl Resources {
    pub(crate) fn new(host: Host) -> Self {
        let own = Encoded::resource(own(&host));
        Self { host, own, known: LruCache::new(KEPT) }
    }

    /// Resource of socktrace itself.
    pub(super) fn own(&self) -> Arc<[u8]> {
        Arc::clone(&self.own)
    }

    /// Resource of a service, or of a program if the service has no name.
    pub(super) fn of(&mut self, service: &Arc<Service>, program: Option<&str>) -> Arc<[u8]> {
        let program = program.filter(|_| name(service).is_none()).map(Arc::from);
        let key = (Arc::clone(service), program);
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        let encoded = Encoded::resource(workload(&self.host, service, key.1.as_deref()));
        self.known.put(key, Arc::clone(&encoded));
        encoded
    }
}

/// Name of a service: the container within its pod, the container, or the unit. Claimed names do
/// not count.
fn name(service: &Service) -> Option<String> {
    if let Some(container) = service.trusted_container() {
        return Some(container.label().to_owned());
    }
    service.label().map(Cow::into_owned)
}

/// Attributes of a workload.
pub(super) fn workload(host: &Host, service: &Service, program: Option<&str>) -> Resource {
    let mut attributes = Attributes::default();
    let name = name(service).unwrap_or_else(|| match program {
        // The specification's name for a service without one.
        Some(program) => format!("unknown_service:{program}"),
        None => "unknown_service".to_owned(),
    });
    let pod = service.pod.as_ref().filter(|pod| !pod.claimed);
    let container = service.trusted_container();
    attributes.known("service.namespace", pod.and_then(|pod| pod.namespace.as_deref()));
    let instance = match (container, &host.id) {
        (Some(container), _) => Some(container.id.clone()),
        // A unit's name is unique only on its host.
        (None, Some(host)) => Some(format!("{host}/{name}")),
        (None, None) => None,
    };
    attributes.known("service.instance.id", instance);
    attributes.text("service.name", name);
    if let Some(container) = container {
        attributes.text("container.id", container.id.as_str());
        attributes.known("container.name", container.name.as_deref());
        let runtime = container.runtime.map(serde_json::to_value).and_then(Result::ok);
        attributes.known("container.runtime.name", runtime.as_ref().and_then(Value::as_str));
    }
    if let Some(pod) = pod {
        attributes.text("k8s.pod.uid", pod.uid.as_str());
        attributes.known("k8s.pod.name", pod.name.as_deref());
        attributes.known("k8s.namespace.name", pod.namespace.as_deref());
        let inside = container.and_then(|container| container.name.as_deref());
        attributes.known("k8s.container.name", inside);
    }
    host.add(&mut attributes);
    Resource { attributes: attributes.0, ..Resource::default() }
}

/// Attributes of socktrace itself, the resource of the metrics.
pub(super) fn own(host: &Host) -> Resource {
    let mut attributes = Attributes::default();
    let asked = host.more.iter().find(|(key, _)| key == "service.name");
    let name = host.own_name.as_ref().or(asked.map(|(_, value)| value));
    attributes.text("service.name", name.map_or(SCOPE, String::as_str));
    attributes.text("service.version", env!("CARGO_PKG_VERSION"));
    for (key, value) in &host.more {
        if !attributes.has(key) {
            attributes.text(key, value);
        }
    }
    if !attributes.has("service.instance.id") {
        attributes.known("service.instance.id", host.id.as_deref());
    }
    host.add(&mut attributes);
    Resource { attributes: attributes.0, ..Resource::default() }
}
