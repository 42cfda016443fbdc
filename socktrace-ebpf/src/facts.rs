//! Facts about the running kernel, passed to the programs as read-only globals.
//!
//! The daemon reads them from the kernel's BTF by name and sets the globals of the same name
//! before the programs are verified, so that the verifier sees constants and removes the code
//! for what this kernel lacks. One list serves both sides: see [`crate::kernel_facts!`].

/// Value of a fact that this kernel lacks.
pub const ABSENT: u32 = u32::MAX;

/// Invokes a macro with the list of facts, grouped by what needs them:
/// `need("argument", ...) { NAME = "type", "member.path", kind; ... }`.
///
/// Needs:
/// - `always`: nothing can be traced without it;
/// - `at`: the programs at these kernel functions, or with these names, are not loaded without it;
/// - `optional`: the programs work without it, but what the argument names, if anything, stays
///   hidden. The facts of such a group are all present or all absent, so programs need to check
///   only one of them; an absent member reads as zero;
/// - `feature`: like `optional`, but nothing is hidden in a kernel that lacks one of the structs,
///   because it was built without the feature.
///
/// Kinds: `u8` to `u128` and `pointer` are the byte offset of a member of that size, which is
/// checked; `offset` is the byte offset of a member of any size; `size` is a member's size in
/// bytes; `bit` is its offset in bits, also for bit-fields. A path may name members of nested and
/// anonymous structs.
#[macro_export]
macro_rules! kernel_facts {
    ($callback:ident) => {
        $callback! {
            always() {
                SOCK_FAMILY = "sock", "__sk_common.skc_family", u16;
                SOCK_STATE = "sock", "__sk_common.skc_state", u8;
                SOCK_FLAGS = "sock", "__sk_common.skc_flags", u64;
                SOCK_DPORT = "sock", "__sk_common.skc_dport", u16;
                SOCK_DADDR = "sock", "__sk_common.skc_daddr", u32;
                SOCK_SADDR = "sock", "__sk_common.skc_rcv_saddr", u32;
                SOCK_PROTOCOL = "sock", "sk_protocol", u16;
                SOCK_TYPE = "sock", "sk_type", u16;
                SOCK_ERR = "sock", "sk_err", u32;
                SOCK_SHUTDOWN = "sock", "sk_shutdown", u8;
                SOCK_SOCKET = "sock", "sk_socket", pointer;
                SOCK_OWNED = "sock", "sk_lock.owned", u32;
                SOCK_NUM = "sock", "__sk_common.skc_num", u16;
                SOCKET_SK = "socket", "sk", pointer;
                SOCK_COOKIE = "sock", "__sk_common.skc_cookie.counter", u64;
                INET_SPORT = "inet_sock", "inet_sport", u16;
            }
            // Not in a kernel built without IPv6.
            optional("addresses of IPv6 connections") {
                SOCK_DADDR6 = "sock", "__sk_common.skc_v6_daddr", u128;
                SOCK_SADDR6 = "sock", "__sk_common.skc_v6_rcv_saddr", u128;
            }
            // Not in a kernel built without cgroups.
            optional("the cgroup, and so the service, of a process") {
                TASK_CGROUPS = "task_struct", "cgroups", pointer;
                CSS_SET_DFL_CGRP = "css_set", "dfl_cgrp", pointer;
                CGROUP_KN = "cgroup", "kn", pointer;
                KERNFS_NODE_ID = "kernfs_node", "id", u64;
            }
            optional("the user of a datagram or Unix socket that no program has connected or waits for") {
                SOCK_UID = "sock", "sk_uid", u32;
            }
            // Since 5.16. Not in a kernel built without cgroups.
            optional() {
                SOCK_CGROUP = "sock", "sk_cgrp_data.cgroup", pointer;
            }
            // Before 5.16: a pointer, unless its lowest bit is set, which marks cgroup v1.
            optional() {
                SOCK_CGROUP_VALUE = "sock", "sk_cgrp_data.val", u64;
            }
            optional("who waits for a socket, whether its opener still holds it, sockets opened before the start") {
                TASK_PID = "task_struct", "pid", u32;
                TASK_TGID = "task_struct", "tgid", u32;
                TASK_GROUP_LEADER = "task_struct", "group_leader", pointer;
                TASK_START = "task_struct", "start_boottime", u64;
                TASK_FLAGS = "task_struct", "flags", u32;
                TASK_COMM = "task_struct", "comm", offset;
                TASK_MM = "task_struct", "mm", pointer;
                MM_EXE_FILE = "mm_struct", "exe_file", pointer;
                FILE_DENTRY = "file", "f_path.dentry", pointer;
                DENTRY_NAME = "dentry", "d_name.name", pointer;
                TASK_CRED = "task_struct", "cred", pointer;
                CRED_UID = "cred", "uid", u32;
                SOCK_WQ = "sock", "sk_wq", pointer;
                SOCKET_WQ_WAITERS = "socket_wq", "wait.head", offset;
                WAIT_ENTRY_LINK = "wait_queue_entry", "entry", offset;
                WAIT_ENTRY_PRIVATE = "wait_queue_entry", "private", pointer;
                POLL_TASK = "poll_wqueues", "polling_task", pointer;
                EPOLL_ENTRY_WAIT = "eppoll_entry", "wait", offset;
                EPOLL_ENTRY_BASE = "eppoll_entry", "base", pointer;
                EPOLL_ITEM_EP = "epitem", "ep", pointer;
                EPOLL_WAITERS = "eventpoll", "wq.head", offset;
                SOCKET_FILE = "socket", "file", pointer;
                OPEN_FILES = "task_struct", "files", pointer;
                OPEN_FILES_TABLE = "files_struct", "fdt", pointer;
                OPEN_FILES_COUNT = "fdtable", "max_fds", u32;
                OPEN_FILES_ARRAY = "fdtable", "fd", pointer;
                FILE_INODE = "file", "f_inode", pointer;
                FILE_SOCKET = "file", "private_data", pointer;
                INODE_MODE = "inode", "i_mode", u16;
            }
            // Not in a kernel built without Unix sockets.
            feature("Unix sockets: their paths, peers and listeners") {
                UNIX_PEER = "unix_sock", "peer", pointer;
                UNIX_ADDRESS = "unix_sock", "addr", pointer;
                UNIX_ADDRESS_LENGTH = "unix_address", "len", u32;
                UNIX_ADDRESS_NAME = "unix_address", "name", offset;
                SOCK_QUEUE = "sock", "sk_receive_queue", offset;
                SOCK_QUEUE_LENGTH = "sock", "sk_receive_queue.qlen", u32;
                SOCK_PEER_PID = "sock", "sk_peer_pid", pointer;
                SKB_NEXT = "sk_buff", "next", pointer;
                SKB_SK = "sk_buff", "sk", pointer;
                PID_TASKS = "pid", "tasks", offset;
                TASK_PID_LINKS = "task_struct", "pid_links", offset;
                TASK_FS = "task_struct", "fs", pointer;
                FS_ROOT_DENTRY = "fs_struct", "root.dentry", pointer;
                FS_ROOT_MOUNT = "fs_struct", "root.mnt", pointer;
            }
            // Registers of a system call, on x86-64 and on arm64.
            optional() {
                PT_REGS_DI = "pt_regs", "di", u64;
                PT_REGS_ORIG_AX = "pt_regs", "orig_ax", u64;
                PT_REGS_SS = "pt_regs", "ss", offset;
            }
            optional() {
                PT_REGS_ORIG_X0 = "pt_regs", "orig_x0", u64;
                PT_REGS_NUMBER = "pt_regs", "syscallno", u32;
            }
            // Since 3.14.
            optional("processes whose first thread has ended") {
                THREADS_SIGNAL = "task_struct", "signal", pointer;
                THREAD_HEAD = "signal_struct", "thread_head", offset;
                THREAD_NODE = "task_struct", "thread_node", offset;
            }
            // Not in a kernel built without namespaces.
            optional("the network namespace of events") {
                SOCK_NET = "sock", "__sk_common.skc_net.net", pointer;
                NET_DEVICE_NET = "net_device", "nd_net.net", pointer;
                NET_INUM = "net", "ns.inum", u32;
            }
            // Without these, a bind that fails with EACCES is never attributed to policy.
            optional() {
                NET_UNPRIVILEGED_PORT = "net", "ipv4.sysctl_ip_prot_sock", u32;
                NET_USER_NS = "net", "user_ns", pointer;
                CRED_USER_NS = "cred", "user_ns", pointer;
                CRED_CAPABILITIES = "cred", "cap_effective", u64;
            }
            optional("which timer gave up a connection, and its retransmissions and timers") {
                SOCK_ERR_SOFT = "sock", "sk_err_soft", u32;
                NET_RETRIES2 = "net", "ipv4.sysctl_tcp_retries2", offset;
                NET_RETRIES2_SIZE = "net", "ipv4.sysctl_tcp_retries2", size;
                ICSK_RTO = "inet_connection_sock", "icsk_rto", u32;
                ICSK_RETRANSMITS = "inet_connection_sock", "icsk_retransmits", u8;
                ICSK_PROBES_OUT = "inet_connection_sock", "icsk_probes_out", u8;
                ICSK_USER_TIMEOUT = "inet_connection_sock", "icsk_user_timeout", u32;
                TCP_SND_UNA = "tcp_sock", "snd_una", u32;
                TCP_SND_NXT = "tcp_sock", "snd_nxt", u32;
                TCP_WRITE_SEQ = "tcp_sock", "write_seq", u32;
                TCP_SND_WND = "tcp_sock", "snd_wnd", u32;
                TCP_RCV_NXT = "tcp_sock", "rcv_nxt", u32;
                TCP_RETRANS_STAMP = "tcp_sock", "retrans_stamp", u32;
                TCP_MSTAMP = "tcp_sock", "tcp_mstamp", u64;
            }
            optional("reset_after_idle and the silence before failures, premature_eof in part") {
                TCP_RCV_TSTAMP = "tcp_sock", "rcv_tstamp", u32;
                TCP_LSNDTIME = "tcp_sock", "lsndtime", u32;
                ICSK_LRCVTIME = "inet_connection_sock", "icsk_ack.lrcvtime", u32;
            }
            optional("what waits unread in a socket that fails, and whether large segments were lost alone") {
                TCP_COPIED_SEQ = "tcp_sock", "copied_seq", u32;
                TCP_MSS_CACHE = "tcp_sock", "mss_cache", u32;
                TCP_SACKED_OUT = "tcp_sock", "sacked_out", u32;
            }
            // Not in a kernel built without TCP_MD5SIG.
            optional() {
                TCP_MD5SIG_INFO = "tcp_sock", "md5sig_info", pointer;
            }
            optional("premature_eof in part, and reset_without_answer") {
                TCP_BYTES_RECEIVED = "tcp_sock", "bytes_received", u64;
                TCP_BYTES_ACKED = "tcp_sock", "bytes_acked", u64;
            }
            // Without these, nothing shows which end connected a socket that is not recorded.
            optional() {
                TCP_BYTES_SENT = "tcp_sock", "bytes_sent", u64;
                TCP_BYTES_RETRANS = "tcp_sock", "bytes_retrans", u64;
            }
            // Without these, the reason for sending an RST is reported less exactly, and the RST's
            // numbers are missing if the peer has closed its window.
            optional() {
                TCP_LINGER2 = "tcp_sock", "linger2", u32;
                TCP_WSCALE_OK_BIT = "tcp_sock", "rx_opt.wscale_ok", bit;
                TCP_RCV_WSCALE_BIT = "tcp_sock", "rx_opt.rcv_wscale", bit;
            }
            // Without it, a connect by a send call that blocks is reported as one by connect.
            optional() {
                TCP_FASTOPEN_REQ = "tcp_sock", "fastopen_req", pointer;
            }
            // Without these, no reason is given for IPv4-mapped addresses on IPv6-only sockets, and
            // for Fast Open being off.
            optional() {
                SOCK_IPV6ONLY_BIT = "sock", "__sk_common.skc_ipv6only", bit;
            }
            optional() {
                NET_FASTOPEN = "net", "ipv4.sysctl_tcp_fastopen", offset;
            }
            optional("how full accept queues are when an accept fails") {
                SOCK_ACK_BACKLOG = "sock", "sk_ack_backlog", u32;
                SOCK_MAX_ACK_BACKLOG = "sock", "sk_max_ack_backlog", u32;
            }
            optional("handshakes that listeners drop (accept_queue_overflow)") {
                SOCK_DROPS = "sock", "sk_drops.counter", u32;
            }
            optional("how much waits unread where a receive queue is full") {
                SOCK_QUEUED = "sock", "sk_backlog.rmem_alloc", u32;
            }
            // Since 5.11, and in long-term series.
            optional("how long a closed window was probed") {
                ICSK_PROBES_TSTAMP = "inet_connection_sock", "icsk_probes_tstamp", u32;
            }
            // Since 6.7; before, `retrans_stamp` is always in milliseconds.
            optional() {
                TCP_USEC_TS_BIT = "tcp_sock", "tcp_usec_ts", bit;
            }
            optional("data_after_shutdown: such resets are taken for resets by the peer") {
                SKB_CB = "sk_buff", "cb", offset;
                // One byte up to 6.12, two from 6.16, the first of which is the old one.
                SKB_CB_TCP_FLAGS = "tcp_skb_cb", "tcp_flags", offset;
                SKB_CB_SEQ = "tcp_skb_cb", "seq", u32;
                SKB_CB_END_SEQ = "tcp_skb_cb", "end_seq", u32;
                SKB_CB_ACK_SEQ = "tcp_skb_cb", "ack_seq", u32;
            }
            feature("MPTCP sockets: each of their subflows is reported as a socket") {
                TCP_IS_MPTCP_BIT = "tcp_sock", "is_mptcp", bit;
                ICSK_ULP_DATA = "inet_connection_sock", "icsk_ulp_data", pointer;
                SUBFLOW_CONN = "mptcp_subflow_context", "conn", pointer;
                MPTCP_FIRST = "mptcp_sock", "first", pointer;
            }
            feature("which writes by kTLS are programs' calls: each failing one is reported twice") {
                ICSK_ULP_OPS = "inet_connection_sock", "icsk_ulp_ops", pointer;
                ICSK_TLS_CONTEXT = "inet_connection_sock", "icsk_ulp_data", pointer;
                ULP_NAME = "tcp_ulp_ops", "name", offset;
                TLS_TX_CONF_BIT = "tls_context", "tx_conf", bit;
            }
            // Up to 6.4.
            optional() {
                TLS_IN_SENDPAGES = "tls_context", "in_tcp_sendpages", u8;
            }
            // Since 6.5.
            optional() {
                TLS_SPLICING_PAGES = "tls_context", "splicing_pages", u8;
            }
            optional("what SIGPIPE does to a process, and calls that a signal ends") {
                TASK_SIGHAND = "task_struct", "sighand", pointer;
                TASK_SIGNAL = "task_struct", "signal", pointer;
                TASK_BLOCKED = "task_struct", "blocked", u64;
                TASK_PENDING = "task_struct", "pending.signal", u64;
                SIGNAL_SHARED_PENDING = "signal_struct", "shared_pending.signal", u64;
                SIGNAL_FLAGS = "signal_struct", "flags", u32;
                SIGHAND_ACTION = "sighand_struct", "action", offset;
                SIGHAND_ACTION_SIZE = "sighand_struct", "action", size;
                SIGACTION_HANDLER = "k_sigaction", "sa.sa_handler", pointer;
                SIGACTION_FLAGS = "k_sigaction", "sa.sa_flags", u64;
            }
            at(
                "tcp_v4_err", "tcp_v6_err", "udp_err", "icmpv6_notify", "tcp_v4_send_reset",
                "tcp_v6_send_reset"
            ) {
                SKB_DEV = "sk_buff", "dev", pointer;
                SKB_TRANSPORT_HEADER = "sk_buff", "transport_header", u16;
            }
            at(
                "tcp_v4_err", "tcp_v6_err", "udp_err", "icmpv6_notify", "tcp_init_transfer",
                "tcp_reset_hops", "tcp_reset_hops_kprobe", "tcp_validate_incoming",
                "tcp_v4_send_reset", "tcp_v6_send_reset"
            ) {
                SKB_HEAD = "sk_buff", "head", pointer;
                SKB_NETWORK_HEADER = "sk_buff", "network_header", u16;
            }
            at("tcp_v4_err", "tcp_v6_err", "udp_err", "icmpv6_notify") {
                SKB_DATA = "sk_buff", "data", pointer;
            }
            at("inet_csk_accept_two_args") {
                ACCEPT_ARG_ERR = "proto_accept_arg", "err", u32;
            }
            at("sk_stream_error", "inet_sk_error_report") {
                SOCK_PROT = "sock", "__sk_common.skc_prot", pointer;
                SOCK_PROT_CREATOR = "sock", "sk_prot_creator", pointer;
            }
            at(
                "sk_stream_error", "__sys_connect_file", "__inet_stream_connect", "unix_stream_sendmsg",
                "unix_dgram_sendmsg"
            ) {
                SOCK_SEND_TIMEOUT = "sock", "sk_sndtimeo", u64;
            }
            at("__sys_connect_file") {
                FILE_FLAGS = "file", "f_flags", u32;
            }
            // Up to 6.4. Since then, data sent by `sendfile` and `splice` is flagged.
            optional() {
                SENDPAGE = "proto_ops", "sendpage", pointer;
            }
            at(
                "__inet_stream_connect", "tcp_done", "tcp_done_with_error", "sk_error_report",
                "sock_def_error_report"
            ) {
                SOCKET_STATE = "socket", "state", u32;
            }
            // The path from a descriptor to its socket.
            at(
                "__sys_accept4", "__sys_bind", "__sys_listen", "__sys_setsockopt", "__sys_getsockopt",
                "send_sig"
            ) {
                TASK_FILES = "task_struct", "files", pointer;
                FILES_FDT = "files_struct", "fdt", pointer;
                FDTABLE_FD = "fdtable", "fd", pointer;
            }
            at(
                "__sys_accept4", "__sys_bind", "__sys_listen", "__sys_setsockopt", "__sys_getsockopt",
                "io_listen", "send_sig"
            ) {
                FILE_PRIVATE_DATA = "file", "private_data", pointer;
            }
            at("io_listen") {
                IO_REQUEST_FILE = "io_kiocb", "file", pointer;
                IO_REQUEST_RESULT = "io_kiocb", "cqe.res", u32;
            }
            at("__sys_bind_socket", "send_sig", "unix_stream_sendmsg", "unix_dgram_sendmsg") {
                TASK_STACK = "task_struct", "stack", pointer;
            }
            at("unix_stream_sendmsg", "unix_dgram_sendmsg") {
                MSG_FLAGS = "msghdr", "msg_flags", u32;
            }
            at("tcp_sendmsg_fastopen", "udp_sendmsg", "udpv6_sendmsg", "unix_dgram_sendmsg") {
                MSG_NAME = "msghdr", "msg_name", pointer;
                MSG_NAME_LENGTH = "msghdr", "msg_namelen", u32;
            }
            at("sched_process_fork", "sched_process_exit") {
                PROCESS_TGID = "task_struct", "tgid", u32;
            }
            at("sched_process_fork") {
                PROCESS_PID = "task_struct", "pid", u32;
                PROCESS_START = "task_struct", "start_boottime", u64;
            }
            at("sched_process_exit") {
                PROCESS_SIGNAL = "task_struct", "signal", pointer;
                PROCESS_LIVE = "signal_struct", "live.counter", u32;
            }
            at("tcp_retransmit_timer") {
                TCP_PACKETS_OUT = "tcp_sock", "packets_out", u32;
            }
            at("tcp_fin") {
                TCP_DATA_SEGS_OUT = "tcp_sock", "data_segs_out", u32;
            }
        }
    };
}
