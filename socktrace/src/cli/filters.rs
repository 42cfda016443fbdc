//! Options that select what is shown.

use std::fmt;

use clap::Args;
use socktrace_diagnosis::{Cause, Errno, Severity};

use super::words;
use crate::filter::{
    CgroupPath, Choice, Comm, ContainerName, Filter, Netns, Network, PathPattern, Pid, Port,
    ProtocolName, Term, Uid, Unit,
};

/// Heading of these options in the help.
pub(super) const HEADING: &str = "Filters";

/// Defines two options for each kind: one for values that are wanted, and one for values that are not.
macro_rules! filters {
    ($($(#[$doc:meta])* $name:ident, $not:ident: $ty:ident = $value:literal;)+) => {
        /// Two repeatable options for each kind: one for values to show, one for values to hide.
        ///
        /// A record passes when it has, of each kind, one of the values, and none of those with `!`.
        #[derive(Args, Clone, Debug, Default)]
        #[command(next_help_heading = HEADING)]
        pub(crate) struct Filters {
            $(
                $(#[$doc])*
                #[arg(long, value_name = $value)]
                $name: Vec<Term<$ty>>,

                #[arg(
                    long,
                    value_name = $value,
                    value_parser = Term::<$ty>::unwanted,
                    help = concat!("All others: as --", stringify!($name), " with ! before the value"),
                    hide_short_help = true
                )]
                $not: Vec<Term<$ty>>,
            )+
        }

        impl Filters {
            /// Whether an option of this name is a filter.
            pub(crate) fn have(option: &str) -> bool {
                let name = option.strip_prefix("not-").unwrap_or(option);
                [$(stringify!($name)),+].contains(&name)
            }

            /// Whether any filter is given.
            pub(crate) fn are_given(&self) -> bool {
                !($(self.$name.is_empty() && self.$not.is_empty())&&+)
            }

            /// Given options: name, whether the value is to be hidden, and the value.
            fn terms(&self) -> impl Iterator<Item = (&'static str, bool, &str)> {
                std::iter::empty()$(.chain(self.$name.iter().chain(&self.$not).map(|term| {
                    let (is_unwanted, text) = term.as_written();
                    (stringify!($name), is_unwanted, text)
                })))+
            }
        }

        impl From<&Filters> for Filter {
            fn from(filters: &Filters) -> Self {
                Self {
                    $($name: Choice::new(filters.$name.iter().chain(&filters.$not)),)+
                }
            }
        }
    };
}

filters! {
    /// Only this process; !PID, or --not-pid PID, for all others, as with every filter. Repeat an option to
    /// match any of several values; different options must all match. An unknown value never matches, so
    /// --not- options do not hide it
    pid, not_pid: Pid = "PID";

    /// Only processes (threads) with this command name. * ? [..] are wildcards, as with --unit, --container,
    /// --cgroup and --path; \ escapes them. With wildcards, the daemon does the filtering, no events are
    /// collapsed, and --filter-metrics is not available
    comm, not_comm: Comm = "NAME";

    /// Only processes of this user, by number or by name in /etc/passwd; no directory service is queried
    uid, not_uid: Uid = "USER";

    /// Only this systemd unit, or those matching a pattern such as nginx-*; a slice matches all units in it
    unit, not_unit: Unit = "UNIT";

    /// Only this container: name, id or its first 12 digits, NAMESPACE/POD, NAMESPACE/POD/CONTAINER
    container, not_container: ContainerName = "CONTAINER";

    /// Only this cgroup and those below it, such as /system.slice
    cgroup, not_cgroup: CgroupPath = "PATH";

    /// Only this network namespace: inode, path, or name known to ip netns
    netns, not_netns: Netns = "NETNS";

    /// Only where either end has this port; with !, where neither has
    port, not_port: Port = "PORT";

    /// Only where this host's address is in this network, such as 10.0.0.7 or 2001:db8::/32
    local, not_local: Network = "NETWORK";

    /// Only where the other end's address is in this network
    remote, not_remote: Network = "NETWORK";

    /// Only Unix sockets at this path, such as /run/php/*.sock, or with this abstract name after @. Not with
    /// --filter-metrics
    path, not_path: PathPattern = "PATTERN";

    /// Only sockets of this protocol, such as tcp, udp or unix
    protocol, not_protocol: ProtocolName = "PROTOCOL";

    /// Only this errno, by name or number
    errno, not_errno: Errno = "ERRNO";

    /// Only this cause, even one that otherwise needs --all
    cause, not_cause: Cause = "CAUSE";

    /// Only this severity: expected, notable or failure; even one that otherwise needs --all
    severity, not_severity: Severity = "SEVERITY";
}

impl Filters {
    /// Parses options as on a command line, in which `--` before names may be missing:
    /// `--unit nginx`, `unit nginx not-port 443`, `comm='a b'`.
    ///
    /// # Errors
    /// What is wrong with them, in one line.
    pub(crate) fn parse(options: &str) -> Result<Self, String> {
        words::parse(options)
    }
}

/// Formats the filters as options of a command line.
impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, is_unwanted, value)) in self.terms().enumerate() {
            let space = if index > 0 { " " } else { "" };
            match is_unwanted {
                false => write!(f, "{space}--{name} {}", words::quoted(value))?,
                // A leading ! would negate --not-.
                true if value.starts_with('!') => {
                    write!(f, "{space}--{name} {}", words::quoted(&format!("!{value}")))?;
                }
                true => write!(f, "{space}--not-{name} {}", words::quoted(value))?,
            }
        }
        Ok(())
    }
}
