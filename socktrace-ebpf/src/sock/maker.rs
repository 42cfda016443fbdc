//! Whom a socket was made for, as the socket itself keeps it. Sockets that are accepted have it from
//! their listener.

use super::Sock;
use crate::{
    load::Probe,
    offsets::{self, Optional},
};

/// Set in what 5.10 to 5.15 keep where the cgroup is, when it is no pointer.
const IS_DATA: u64 = 1;

impl Sock<Probe> {
    /// The user that made it (`sk_uid`), as the initial user namespace numbers them.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        self.load(&offsets::SOCK_UID)
    }

    /// The id of the cgroup that it was made in (`cgroup_sk_alloc`); 0 where the kernel does not keep one.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        if offsets::TASK_CGROUPS.is_absent() {
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
