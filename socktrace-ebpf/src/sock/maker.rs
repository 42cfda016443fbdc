//! User and cgroup that a socket was made for, as the socket itself records them. Accepted IP
//! sockets have them from their listener.

use socktrace_ebpf::TcpState;

use super::Sock;
use crate::{
    load::Probe,
    offsets::{self, Optional},
};

/// Set in the cgroup field of 5.10 to 5.15 if that is not a pointer.
const IS_DATA: u64 = 1;

impl Sock<Probe> {
    /// User that made it (`sk_uid`), as numbered in the initial user namespace.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        self.load(&offsets::SOCK_UID)
    }

    /// Whether it may be an accepted Unix connection, which the peer's connect has made
    /// (`unix_stream_connect`). Connections that were bound themselves look the same.
    #[inline(always)]
    fn may_be_the_peers(self) -> bool {
        self.is_unix() && self.state() != TcpState::Listen as u8 && !self.unix_name().is_none()
    }

    /// Id of the cgroup that it was made in (`cgroup_sk_alloc`); 0 if the kernel does not store one.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        if offsets::TASK_CGROUPS.is_absent() || self.may_be_the_peers() {
            return 0;
        }
        let kept_at: &Optional = if offsets::SOCK_CGROUP.is_absent() {
            &offsets::SOCK_CGROUP_VALUE
        } else {
            &offsets::SOCK_CGROUP
        };
        let cgroup: u64 = self.load(kept_at);
        if cgroup & IS_DATA != 0 {
            return 0;
        }
        let node: *const u8 = Probe::read_member(cgroup as *const u8, offsets::CGROUP_KN.present());
        Probe::read_member(node, offsets::KERNFS_NODE_ID.present())
    }
}
