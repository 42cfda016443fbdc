//! Facts about the running kernel that the programs take as read-only globals.
//!
//! The daemon reads them from the kernel's BTF by name and sets the globals of the same name
//! before the programs are verified, so that the verifier sees constants and removes the code
//! for what this kernel lacks. One list serves both sides: see [`crate::kernel_facts!`].

/// Value of a fact that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Invokes a macro with the list of facts: `NAME = "type", "member.path", kind;`.
///
/// Kinds: `offset` is the member's offset in bytes, `size` its size in bytes, `bit` its offset
/// in bits (for bit-fields). A path may name members of nested and anonymous structs.
#[macro_export]
macro_rules! kernel_facts {
    ($callback:ident) => {
        $callback! {
            SOCK_FAMILY = "sock", "__sk_common.skc_family", offset;
            SOCK_STATE = "sock", "__sk_common.skc_state", offset;
            SOCK_FLAGS = "sock", "__sk_common.skc_flags", offset;
            SOCK_DPORT = "sock", "__sk_common.skc_dport", offset;
            SOCK_DADDR = "sock", "__sk_common.skc_daddr", offset;
            SOCK_SADDR = "sock", "__sk_common.skc_rcv_saddr", offset;
            SOCK_DADDR6 = "sock", "__sk_common.skc_v6_daddr", offset;
            SOCK_SADDR6 = "sock", "__sk_common.skc_v6_rcv_saddr", offset;
            SOCK_NET = "sock", "__sk_common.skc_net.net", offset;
            SOCK_ERR = "sock", "sk_err", offset;
            SOCK_ERR_SOFT = "sock", "sk_err_soft", offset;
            SOCK_SOCKET = "sock", "sk_socket", offset;
            SOCK_OWNED = "sock", "sk_lock.owned", offset;
            NET_INUM = "net", "ns.inum", offset;
            NET_RETRIES2 = "net", "ipv4.sysctl_tcp_retries2", offset;
            NET_RETRIES2_SIZE = "net", "ipv4.sysctl_tcp_retries2", size;
            INET_SPORT = "inet_sock", "inet_sport", offset;
            ICSK_RTO = "inet_connection_sock", "icsk_rto", offset;
            ICSK_RETRANSMITS = "inet_connection_sock", "icsk_retransmits", offset;
            ICSK_PROBES_OUT = "inet_connection_sock", "icsk_probes_out", offset;
            ICSK_USER_TIMEOUT = "inet_connection_sock", "icsk_user_timeout", offset;
            TCP_PACKETS_OUT = "tcp_sock", "packets_out", offset;
            TCP_SND_UNA = "tcp_sock", "snd_una", offset;
            TCP_SND_NXT = "tcp_sock", "snd_nxt", offset;
            TCP_WRITE_SEQ = "tcp_sock", "write_seq", offset;
            TCP_SND_WND = "tcp_sock", "snd_wnd", offset;
            TCP_RCV_TSTAMP = "tcp_sock", "rcv_tstamp", offset;
            TCP_RETRANS_STAMP = "tcp_sock", "retrans_stamp", offset;
            TCP_MSTAMP = "tcp_sock", "tcp_mstamp", offset;
            TCP_USEC_TS_BIT = "tcp_sock", "tcp_usec_ts", bit;
            SOCK_NUM = "sock", "__sk_common.skc_num", offset;
            SOCK_PROTOCOL = "sock", "sk_protocol", offset;
            SOCK_TYPE = "sock", "sk_type", offset;
            SOCK_SHUTDOWN = "sock", "sk_shutdown", offset;
            SOCKET_STATE = "socket", "state", offset;
            SOCKET_SK = "socket", "sk", offset;
            ICSK_LRCVTIME = "inet_connection_sock", "icsk_ack.lrcvtime", offset;
            TCP_LSNDTIME = "tcp_sock", "lsndtime", offset;
            TCP_BYTES_RECEIVED = "tcp_sock", "bytes_received", offset;
            TCP_BYTES_ACKED = "tcp_sock", "bytes_acked", offset;
            ACCEPT_ARG_ERR = "proto_accept_arg", "err", offset;
            TASK_SIGHAND = "task_struct", "sighand", offset;
            TASK_SIGNAL = "task_struct", "signal", offset;
            TASK_BLOCKED = "task_struct", "blocked", offset;
            TASK_PENDING = "task_struct", "pending.signal", offset;
            SIGNAL_SHARED_PENDING = "signal_struct", "shared_pending.signal", offset;
            SIGACTION_FLAGS = "k_sigaction", "sa.sa_flags", offset;
            TASK_FILES = "task_struct", "files", offset;
            SIGHAND_ACTION = "sighand_struct", "action", offset;
            SIGHAND_ACTION_SIZE = "sighand_struct", "action", size;
            SIGACTION_HANDLER = "k_sigaction", "sa.sa_handler", offset;
            SIGNAL_FLAGS = "signal_struct", "flags", offset;
            FILES_FDT = "files_struct", "fdt", offset;
            FDTABLE_FD = "fdtable", "fd", offset;
            FILE_PRIVATE_DATA = "file", "private_data", offset;
            SKB_DATA = "sk_buff", "data", offset;
            SKB_HEAD = "sk_buff", "head", offset;
            SKB_TRANSPORT_HEADER = "sk_buff", "transport_header", offset;
            SKB_NETWORK_HEADER = "sk_buff", "network_header", offset;
            SKB_CB = "sk_buff", "cb", offset;
            SKB_CB_TCP_FLAGS = "tcp_skb_cb", "tcp_flags", offset;
            TCP_IS_MPTCP_BIT = "tcp_sock", "is_mptcp", bit;
            ICSK_ULP_DATA = "inet_connection_sock", "icsk_ulp_data", offset;
            SUBFLOW_CONN = "mptcp_subflow_context", "conn", offset;
        }
    };
}
