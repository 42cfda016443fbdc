//! Cache of the services behind sockets.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lru::LruCache;

use super::{
    cgroup_id::CgroupIds,
    host_files::HostFiles,
    mounts::Layout,
    name_lookups::NameLookups,
    process::{Processes, Sighting, boot_ns},
    service::{Service, Unknown},
};

/// Maximum number of cached services.
const KEPT: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// How long names are cached: containers can be renamed.
const NAMES_AGE: Duration = Duration::from_mins(1);

/// How long missing names are cached: some are written after the container starts.
const NO_NAMES_AGE: Duration = Duration::from_secs(5);

/// Longest wait of the stream for a container's names: longer than a healthy disk takes, yet too
/// short to be noticed. Metrics can wait longer.
const STREAM_PATIENCE: Duration = Duration::from_millis(100);
const METRICS_PATIENCE: Duration = Duration::from_secs(5);

/// Finds the services behind sockets.
pub(crate) struct Owners {
    ids: Option<CgroupIds>,
    /// Whether containers may be only in cgroup v1 hierarchies.
    legacy: bool,
    /// `None` if pids are from another namespace.
    processes: Option<Processes>,
    names: NameLookups,
    services: LruCache<Arc<str>, Named>,
    last: Option<Last>,
}

/// The service found last. Events of one service often come in bursts.
struct Last {
    cgroup: u64,
    service: Arc<Service>,
    /// Time of the look-up, since boot. The result is valid for all events up to then.
    until_ns: u64,
}

/// A service, and the time its names were looked up.
struct Named {
    service: Arc<Service>,
    at: Instant,
}

impl Owners {
    /// Reads this host's cgroup layout and its existing cgroups.
    pub(crate) fn new() -> Self {
        let layout = Layout::read().unwrap_or_else(|error| {
            log::warn!("services cannot be named by cgroup: cannot read the mounts: {error}");
            Layout::default()
        });
        Self {
            ids: layout.unified.map(|root| CgroupIds::new(root, layout.complete)),
            legacy: layout.legacy,
            processes: Processes::new(),
            names: NameLookups::new(HostFiles::new(), STREAM_PATIENCE),
            services: LruCache::new(KEPT),
            last: None,
        }
    }

    /// A second instance for metrics, with the same cached cgroups.
    pub(crate) fn beside(&self) -> Self {
        Self {
            ids: self.ids.as_ref().map(CgroupIds::beside),
            legacy: self.legacy,
            processes: Processes::new(),
            names: NameLookups::new(HostFiles::new(), METRICS_PATIENCE),
            services: LruCache::new(KEPT),
            last: None,
        }
    }

    /// A host without cgroups and processes.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self {
            ids: None,
            legacy: false,
            processes: None,
            names: NameLookups::new(HostFiles::at("/nowhere".into()), STREAM_PATIENCE),
            services: LruCache::new(KEPT),
            last: None,
        }
    }

    /// Returns the service to which a socket belonged at a time since boot.
    ///
    /// `cgroup` is the id in cgroup2, 0 if unknown. Container names are looked up in files. Until
    /// that is done, the service is marked [`Unknown::Busy`] and has no names.
    pub(crate) fn service(&mut self, cgroup: u64, process: Option<Sighting>) -> Arc<Service> {
        // If processes are consulted too, their results may differ for the same cgroup.
        let Some(there) = process.filter(|_| cgroup != 0 && self.are_by_cgroup()) else {
            return self.find(cgroup, process);
        };
        if let Some(last) = &self.last
            && last.cgroup == cgroup
            && there.at_ns <= last.until_ns
        {
            return Arc::clone(&last.service);
        }
        let until_ns = boot_ns();
        let service = self.find(cgroup, process);
        // An unknown service may be found for the next event.
        let is_known = service.unknown.is_none();
        self.last = is_known.then(|| Last { cgroup, service: Arc::clone(&service), until_ns });
        service
    }

    fn find(&mut self, cgroup: u64, process: Option<Sighting>) -> Arc<Service> {
        let by_id = match &mut self.ids {
            Some(ids) if cgroup != 0 => ids.path(cgroup),
            _ if process.is_some() => Err(Unknown::NotVisible),
            _ => Err(Unknown::NotRecorded),
        };
        let known = by_id.map(|path| self.at(&path));
        // The process may reveal more than the cgroup, or is the only source.
        let ask_process = process.filter(|_| match &known {
            Ok(service) => self.legacy && service.container.is_none(),
            Err(why) => self.legacy || *why == Unknown::NotVisible,
        });
        let Some(process) = ask_process else {
            return known.unwrap_or_else(|why| Arc::new(Service::unknown(why)));
        };
        let by_process = match &mut self.processes {
            Some(processes) => processes.cgroup(process).map(|path| self.at(&path)),
            None => Err(Unknown::NotVisible),
        };
        match (known, by_process) {
            (Ok(known), Ok(other)) if known.unit.is_some() && other.container.is_none() => known,
            (Ok(known), Err(_)) if known.unit.is_some() => known,
            (_, Ok(other)) => other,
            (_, Err(why)) => Arc::new(Service::unknown(why)),
        }
    }

    /// The path of a process's executable, if the process exists and the path is readable, and the
    /// time since boot up to which this is known to be valid.
    pub(crate) fn exe(&mut self, process: Sighting) -> Option<(Arc<str>, u64)> {
        self.processes.as_mut()?.exe(process)
    }

    /// Whether a process seen before still exists.
    pub(crate) fn is_there(&mut self, process: Sighting) -> bool {
        self.processes.as_mut().is_some_and(|processes| processes.is_there(process))
    }

    /// Whether this host has cgroup2, whose cgroups have ids.
    pub(crate) fn have_ids() -> bool {
        Layout::read().is_ok_and(|layout| layout.unified.is_some())
    }

    /// Whether the cgroup's id alone determines the service on this host.
    pub(crate) fn are_known_by_cgroup() -> bool {
        Layout::read().is_ok_and(|layout| layout.unified.is_some() && !layout.legacy)
    }

    /// Whether the cgroup with this id has been removed; false for 0, which means none.
    pub(crate) fn is_gone(&self, cgroup: u64) -> bool {
        cgroup != 0 && self.ids.as_ref().is_none_or(|ids| ids.is_gone(cgroup))
    }

    /// Whether the cgroup's id alone determines the service.
    pub(crate) fn are_by_cgroup(&self) -> bool {
        self.ids.is_some() && !self.legacy
    }

    /// The service in the cgroup with a path.
    fn at(&mut self, path: &Arc<str>) -> Arc<Service> {
        for (path, service) in self.names.answered() {
            self.keep(path, service);
        }
        let known = self.services.get(path);
        if let Some(known) = known
            && !known.is_due(Instant::now())
        {
            return Arc::clone(&known.service);
        }
        // Names that are no longer found are kept: the container may just have exited.
        let known = known.map(|known| Arc::clone(&known.service));
        let service = known.as_deref().cloned();
        let service = service.unwrap_or_else(|| Service::from_cgroup_path(path));
        if !service.may_have_names() {
            return self.keep(Arc::clone(path), service);
        }
        match self.names.ask(path, &service) {
            Some(service) => self.keep(Arc::clone(path), service),
            None => known.unwrap_or_else(|| {
                Arc::new(Service { unknown: service.unknown.or(Some(Unknown::Busy)), ..service })
            }),
        }
    }

    fn keep(&mut self, path: Arc<str>, service: Service) -> Arc<Service> {
        let service = Arc::new(service);
        let named = Named { service: Arc::clone(&service), at: Instant::now() };
        self.services.put(path, named);
        service
    }
}

impl Named {
    /// Whether names should be looked up again.
    fn is_due(&self, now: Instant) -> bool {
        if !self.service.may_have_names() {
            return false;
        }
        let container = self.service.container.as_ref().or(self.service.outer_container.as_ref());
        let pod = self.service.pod.as_ref();
        let is_named = container.is_none_or(|container| container.name.is_some())
            && pod.is_none_or(|pod| pod.name.is_some());
        now.duration_since(self.at) >= if is_named { NAMES_AGE } else { NO_NAMES_AGE }
    }
}

#[cfg(test)]
#[path = "owners_tests.rs"]
mod tests;
