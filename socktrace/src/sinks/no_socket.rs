//! Reasons why no socket could be created.

use nix::libc;
use socktrace_diagnosis::{Errno, domain_name, socket_protocol_name, type_name};
use socktrace_ebpf::SocketCall;

/// The call, and the meaning of its errno.
pub(super) fn reason(call: SocketCall, errno: Errno) -> String {
    let SocketCall { family, socket_type, protocol } = call;
    format!(
        "socket({}, {}, {}): {}",
        domain_name(family),
        type_name(socket_type),
        socket_protocol_name(family, protocol),
        meaning(call, i32::from(errno.0))
    )
}

fn meaning(call: SocketCall, errno: i32) -> &'static str {
    let is_ip = matches!(call.family, libc::AF_INET | libc::AF_INET6);
    match errno {
        libc::EMFILE => {
            "the process has as many descriptors open as its limit allows (RLIMIT_NOFILE): raise it, \
             or find out what leaks"
        }
        libc::ENFILE => "the system has as many files open as it allows (fs.file-max)",
        libc::EPERM | libc::EACCES if is_ip && call.socket_type == libc::SOCK_RAW => {
            "it needs CAP_NET_RAW, or policy forbids it"
        }
        libc::EPERM if call.family == libc::AF_PACKET => {
            "it needs CAP_NET_RAW, or policy forbids it"
        }
        libc::EACCES if is_ip && call.socket_type == libc::SOCK_DGRAM && call.protocol != 0 => {
            "the user's groups are not in net.ipv4.ping_group_range, or policy forbids it"
        }
        libc::EPERM | libc::EACCES => {
            "policy forbids it: a security module, a BPF program of its cgroup, or a missing \
             capability"
        }
        libc::EAFNOSUPPORT if call.family == libc::AF_INET6 => "IPv6 is off",
        libc::EAFNOSUPPORT => "this kernel does not have that family, or its module is missing",
        libc::EPROTONOSUPPORT => "the family has no such protocol here",
        libc::ESOCKTNOSUPPORT => "the family has no such type",
        libc::ENOPROTOOPT => "the protocol is switched off (MPTCP: net.mptcp.enabled)",
        libc::ENOBUFS | libc::ENOMEM => "the kernel is out of memory",
        libc::EINVAL => "an argument or flag is unknown",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(family: i32, socket_type: i32, protocol: i32, errno: i32) -> String {
        reason(SocketCall { family, socket_type, protocol }, Errno::of(errno))
    }

    #[test]
    fn the_call_is_written_as_in_the_program() {
        assert_eq!(
            words(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, libc::EPERM),
            "socket(AF_INET, SOCK_RAW, IPPROTO_ICMP): it needs CAP_NET_RAW, or policy forbids it"
        );
        assert_eq!(
            words(77, libc::SOCK_STREAM, 0, libc::EAFNOSUPPORT),
            "socket(77, SOCK_STREAM, 0): this kernel does not have that family, or its module is missing"
        );
    }

    #[test]
    fn a_limit_is_named() {
        assert!(words(libc::AF_UNIX, 1, 0, libc::EMFILE).contains("RLIMIT_NOFILE"));
        assert!(words(libc::AF_INET6, 1, 0, libc::EAFNOSUPPORT).ends_with("IPv6 is off"));
        assert!(words(libc::AF_INET, 2, 1, libc::EACCES).contains("ping_group_range"));
    }
}
