//! Accept queues by service.

use std::collections::BTreeMap;

use socktrace_ebpf::ListenerState;

use super::labels::Labels;

/// Fullest accept queue of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) labels: Labels,
    /// 0 if ports are not distinguished.
    pub(crate) service_port: u16,
    /// Number of connections waiting.
    pub(crate) waiting: u32,
    /// Limit; one more than this may wait.
    pub(crate) limit: u32,
}

impl Queue {
    /// Fill level, in parts of 2^32 of what fits.
    fn fill(&self) -> u64 {
        (u64::from(self.waiting) << 32) / (u64::from(self.limit) + 1)
    }
}

/// The fullest queue of each service and port: the fullest ones of these, in order.
pub(super) fn fullest(
    listeners: impl Iterator<Item = (Labels, u16, ListenerState)>,
    most: usize,
) -> Vec<Queue> {
    let mut services: BTreeMap<(Labels, u16), Queue> = BTreeMap::new();
    for (labels, service_port, ListenerState { waiting, limit, .. }) in listeners {
        let queue = Queue { labels: labels.clone(), service_port, waiting, limit };
        services
            .entry((labels, service_port))
            .and_modify(|known| {
                if queue.fill() > known.fill() {
                    *known = queue.clone();
                }
            })
            .or_insert(queue);
    }
    let mut queues: Vec<_> = services.into_values().collect();
    // A stable sort: of queues that are equally full, the same ones are kept each time.
    queues.sort_by_key(|queue| u64::MAX - queue.fill());
    queues.truncate(most);
    queues
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Service;

    fn listener(unit: &str, port: u16, waiting: u32, limit: u32) -> (Labels, u16, ListenerState) {
        let service = Service { unit: Some(unit.to_owned()), ..Service::default() };
        let state = ListenerState { waiting, limit, ..ListenerState::default() };
        (Labels::from(&service), port, state)
    }

    #[test]
    fn the_fullest_stands_for_its_service() {
        let found = fullest(
            [
                listener("a", 0, 100, 4_096),
                listener("a", 0, 5, 5),
                listener("a", 0, 0, 0),
                listener("b", 0, 2, 1),
                listener("b", 8, 0, 128),
            ]
            .into_iter(),
            9,
        );
        let found: Vec<_> = found
            .iter()
            .map(|queue| (queue.labels.values()[1], queue.service_port, queue.waiting, queue.limit))
            .collect();
        assert_eq!(found, [("b", 0, 2, 1), ("a", 0, 5, 5), ("b", 8, 0, 128)]);
    }

    #[test]
    fn there_are_no_more_than_asked_for() {
        let many = (0..100).map(|port| listener("a", port, u32::from(port), 128));
        let found = fullest(many, 2);
        assert_eq!(found.iter().map(|queue| queue.service_port).collect::<Vec<_>>(), [99, 98]);
    }
}
