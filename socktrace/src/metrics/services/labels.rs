//! A service's labels.

use std::borrow::Cow;

use crate::owner::Service;

/// Names of the labels, in the order of [`Labels::values`].
pub(crate) const NAMES: [&str; 5] = ["service", "unit", "container", "pod", "namespace"];

/// Label value of services without series of their own.
const OTHER: &str = "other";

/// Label value of services of which nothing is known.
const UNKNOWN: &str = "unknown";

/// Labels of a service; empty where they do not apply. A mere claim is not a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Labels {
    service: String,
    unit: String,
    container: String,
    pod: String,
    namespace: String,
}

impl Labels {
    /// Labels of the services that are shown together.
    pub(super) fn other() -> Self {
        Self { service: OTHER.to_owned(), ..Self::default() }
    }

    /// Values of the labels.
    pub(crate) fn values(&self) -> [&str; NAMES.len()] {
        [&self.service, &self.unit, &self.container, &self.pod, &self.namespace].map(String::as_str)
    }
}

impl From<&Service> for Labels {
    fn from(service: &Service) -> Self {
        let container = service.trusted_container().map(|container| container.label().to_owned());
        let pod = service.pod.as_ref().filter(|pod| !pod.claimed);
        let (pod, namespace) =
            pod.map_or((None, None), |pod| (pod.name.clone(), pod.namespace.clone()));
        Self {
            service: service.label().unwrap_or(Cow::Borrowed(UNKNOWN)).into_owned(),
            unit: service.unit.clone().unwrap_or_default(),
            container: container.unwrap_or_default(),
            pod: pod.unwrap_or_default(),
            namespace: namespace.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::{Container, Unknown};

    #[test]
    fn nobody_is_unknown() {
        let labels = Labels::from(&Service::unknown(Unknown::CgroupGone));
        assert_eq!(labels.values(), ["unknown", "", "", "", ""]);
        assert_eq!(Labels::other().values(), ["other", "", "", "", ""]);
    }

    #[test]
    fn what_is_claimed_is_no_label() {
        let container = |claimed| Container {
            id: "3f2a1b4c5d6e7f80".to_owned(),
            name: Some("payments".to_owned()),
            runtime: None,
            claimed,
        };
        let mut service = Service {
            unit: Some("user@1000.service".to_owned()),
            container: Some(container(true)),
            ..Service::default()
        };
        let values = |service: &Service| Labels::from(service).values().map(str::to_owned);
        assert_eq!(values(&service), ["user@1000.service", "user@1000.service", "", "", ""]);
        service.container = Some(container(false));
        assert_eq!(values(&service), ["payments", "user@1000.service", "payments", "", ""]);
    }
}
