//! Filters: each kind has wanted values, of which one must match, and unwanted ones, of which none
//! may.
//!
//! A filter is a pure function of a record and has the last word. The kernel side applies the same
//! criteria early, before an event costs anything, and never drops what would pass here; see
//! [`kernel_filter`].

#[cfg(test)]
mod fuzz;
mod kernel_filter;
mod line;
mod network;
mod pattern;
mod reload;
mod service;
mod term;
mod users;
mod values;

use socktrace_diagnosis::{Cause, Diagnosis, Errno, Finding, Severity, diagnose};
use socktrace_ebpf::{Protocol, Signature};

pub(crate) use self::{
    network::Network,
    service::{CgroupPath, ContainerName, Unit},
    term::{Choice, Term},
    values::{Comm, Netns, PathPattern, Pid, Port, ProtocolName, Uid},
};
use crate::{
    owner::Service,
    record::{Record, names::protocol_name},
};

/// Criteria by kind.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) pid: Choice<Pid>,
    pub(crate) comm: Choice<Comm>,
    pub(crate) uid: Choice<Uid>,
    pub(crate) unit: Choice<Unit>,
    pub(crate) container: Choice<ContainerName>,
    pub(crate) cgroup: Choice<CgroupPath>,
    pub(crate) netns: Choice<Netns>,
    pub(crate) port: Choice<Port>,
    pub(crate) local: Choice<Network>,
    pub(crate) remote: Choice<Network>,
    pub(crate) path: Choice<PathPattern>,
    pub(crate) protocol: Choice<ProtocolName>,
    pub(crate) errno: Choice<Errno>,
    pub(crate) cause: Choice<Cause>,
    pub(crate) severity: Choice<Severity>,
}

impl Filter {
    /// Whether a record passes.
    #[cfg(test)]
    pub(crate) fn admits(&self, record: &Record) -> bool {
        self.admits_signature(record.event.signature)
            && self.admits_subject(record)
            && self.admits_service(&record.service)
    }

    /// Whether a signature passes the filters by protocol, errno, cause and severity.
    pub(crate) fn admits_signature(&self, signature: Signature) -> bool {
        self.admits_finding(signature, diagnose(signature))
    }

    /// [`Self::admits_signature`] for a signature that has been diagnosed already.
    pub(crate) fn admits_finding(&self, signature: Signature, finding: Finding) -> bool {
        let found = finding.diagnosis();
        // Progress matches neither wanted nor unwanted failures.
        let is = |of: &dyn Fn(Diagnosis) -> bool| found.is_some_and(of);
        self.protocol.admits(|protocol| signature.protocol == protocol.0 as u8)
            // Only Unix sockets have a path.
            && (self.path.wanted.is_empty() || signature.protocol == Protocol::Unix as u8)
            && self.errno.admits(|errno| is(&|found| found.errno == *errno))
            && self.cause.admits(|cause| is(&|found| found.cause == *cause))
            && self.severity.admits(|severity| is(&|found| found.severity == *severity))
    }

    /// Whether the connection and its process pass.
    pub(crate) fn admits_subject(&self, record: &Record) -> bool {
        let event = &record.event;
        let owned = |is: bool| event.has_user() && is;
        let named = |is: bool| record.process.is_some() && is;
        // Without an address family there was no socket, hence no address.
        let within = |network: &Network, end: std::net::SocketAddr| {
            record.family.is_some() && network.contains(end.ip())
        };
        self.pid.admits(|pid| named(event.tgid == pid.0))
            && self.comm.admits(|comm| named(comm.is_of(&event.comm)))
            && self.uid.admits(|uid| owned(event.uid == uid.0))
            && self.netns.admits(|netns| event.netns == netns.0)
            && self.port.admits(|port| [event.local_port, event.remote_port].contains(&port.0))
            && self.local.admits(|network| within(network, record.local))
            && self.remote.admits(|network| within(network, record.remote))
            && self
                .path
                .admits(|pattern| record.path.as_deref().is_some_and(|path| pattern.is_of(path)))
    }

    /// Whether the service passes.
    pub(crate) fn admits_service(&self, service: &Service) -> bool {
        self.unit.admits(|unit| unit.is_of(service))
            && self.cgroup.admits(|path| path.is_of(service))
            && self
                .container
                .admits_by(|name| name.is_of(service, true), |name| name.is_of(service, false))
    }

    /// Whether failures are selected by cause or severity. The selected ones are then never noise.
    pub(crate) fn names_failures(&self) -> bool {
        !self.cause.wanted.is_empty() || !self.severity.wanted.is_empty()
    }

    /// Whether the filter depends on the meaning of a signature.
    fn asks_for_meaning(&self) -> bool {
        !(self.protocol.is_any()
            && self.path.wanted.is_empty()
            && self.errno.is_any()
            && self.cause.is_any()
            && self.severity.is_any())
    }

    /// Whether the filter uses paths, which the kernel side does not check.
    pub(crate) fn asks_for_paths(&self) -> bool {
        !self.path.is_any()
    }

    /// Whether the filter has patterns for command names, which the kernel side does not check.
    pub(crate) fn asks_for_comm_patterns(&self) -> bool {
        self.comm.has_patterns()
    }

    /// Whether the filter uses containers, whose names can change.
    pub(crate) fn asks_for_containers(&self) -> bool {
        !self.container.is_any()
    }

    /// Mode of the kernel side's service filter: the strictest mode of the three kinds.
    fn service_mode(&self) -> u32 {
        [self.unit.mode(), self.container.mode(), self.cgroup.mode()].into_iter().fold(0, u32::max)
    }
}

/// Name of a filter's protocol.
fn protocol_of(protocol: ProtocolName) -> &'static str {
    protocol_name(Some(protocol.0))
}

/// Whether a finding is ordinary noise.
pub(crate) fn is_noise(finding: Finding) -> bool {
    match finding {
        Finding::Failure(found) | Finding::Undelivered(found) => {
            found.severity == Severity::Expected
        }
        Finding::ResetSent(_) => true,
        Finding::Delivery(_) | Finding::Retransmission => false,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
