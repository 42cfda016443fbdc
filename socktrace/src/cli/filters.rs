//! The options that say what is shown.

use clap::Args;
use socktrace_diagnosis::{Cause, Errno, Severity};

use crate::filter::{
    CgroupPath, Choice, Comm, ContainerName, Filter, Netns, Network, PathPattern, Pid, Port,
    ProtocolName, Term, Uid, Unit,
};

/// What stands before these options in the help.
pub(super) const HEADING: &str = "Filters";

/// What is shown: one option for each kind, each as often as needed.
///
/// A record passes when it has, of each kind, one of the values, and none of those with `!`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Filters {
    /// Only of this process; !PID for all others, as with every filter. Repeat an option for any of
    /// several values; of different options each must hold. Unknown is no value, and not left out
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<Term<Pid>>,

    /// Only of processes (threads) with this command name
    #[arg(long, value_name = "NAME")]
    pub(crate) comm: Vec<Term<Comm>>,

    /// Only of processes of this user, by number
    #[arg(long, value_name = "UID")]
    pub(crate) uid: Vec<Term<Uid>>,

    /// Only of this systemd unit; a slice stands for all in it
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Vec<Term<Unit>>,

    /// Only of this container: name, id or 12 digits of it, NAMESPACE/POD, NAMESPACE/POD/CONTAINER
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) container: Vec<Term<ContainerName>>,

    /// Only of this cgroup and those below it, such as /system.slice
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<Term<CgroupPath>>,

    /// Only in this network namespace: inode, path, or name of ip netns
    #[arg(long, value_name = "NETNS")]
    pub(crate) netns: Vec<Term<Netns>>,

    /// Only where one end has this port; with ! where neither has
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Vec<Term<Port>>,

    /// Only where this host's address is in this network, such as 10.0.0.7 or 2001:db8::/32
    #[arg(long, value_name = "NETWORK")]
    pub(crate) local: Vec<Term<Network>>,

    /// Only where the other end's address is in this network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) remote: Vec<Term<Network>>,

    /// Only of Unix sockets at this path, such as /run/php/*.sock, or with this abstract name after @;
    /// * ? [..] stand for others, \ before one of them for itself. Not with --filter-metrics
    #[arg(long, value_name = "PATTERN")]
    pub(crate) path: Vec<Term<PathPattern>>,

    /// Only of sockets of this protocol, such as tcp, udp or unix
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) protocol: Vec<Term<ProtocolName>>,

    /// Only with this errno, by name or number
    #[arg(long, value_name = "ERRNO")]
    pub(crate) errno: Vec<Term<Errno>>,

    /// Only with this cause, also where --all would be needed
    #[arg(long, value_name = "CAUSE")]
    pub(crate) cause: Vec<Term<Cause>>,

    /// Only of this severity: expected, notable or failure; also where --all would be needed
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) severity: Vec<Term<Severity>>,
}

impl Filters {
    /// Whether anything is asked.
    pub(crate) fn are_given(&self) -> bool {
        !(self.pid.is_empty()
            && self.comm.is_empty()
            && self.uid.is_empty()
            && self.unit.is_empty()
            && self.container.is_empty()
            && self.cgroup.is_empty()
            && self.netns.is_empty()
            && self.port.is_empty()
            && self.local.is_empty()
            && self.remote.is_empty()
            && self.path.is_empty()
            && self.protocol.is_empty()
            && self.errno.is_empty()
            && self.cause.is_empty()
            && self.severity.is_empty())
    }
}

impl From<&Filters> for Filter {
    fn from(filters: &Filters) -> Self {
        Self {
            pid: Choice::new(&filters.pid),
            comm: Choice::new(&filters.comm),
            uid: Choice::new(&filters.uid),
            unit: Choice::new(&filters.unit),
            container: Choice::new(&filters.container),
            cgroup: Choice::new(&filters.cgroup),
            netns: Choice::new(&filters.netns),
            port: Choice::new(&filters.port),
            local: Choice::new(&filters.local),
            remote: Choice::new(&filters.remote),
            path: Choice::new(&filters.path),
            protocol: Choice::new(&filters.protocol),
            errno: Choice::new(&filters.errno),
            cause: Choice::new(&filters.cause),
            severity: Choice::new(&filters.severity),
        }
    }
}
