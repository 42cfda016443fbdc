//! Sockets in sockmaps, whose BPF programs see sent or received data.

use anyhow::Result;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use socket2::Socket;

use super::bpf::{Program, SocketMap, instruction};

/// Attaches a program that judges sent data and passes all of it.
pub(super) fn judge(socket: &Socket) -> Result<SocketMap> {
    let instructions = [
        instruction(0xb7, 0x00, 0, 1), // r0 = SK_PASS
        instruction(0x95, 0x00, 0, 0), // exit
    ];
    let kind = bpf_prog_type::BPF_PROG_TYPE_SK_MSG;
    let program = Program::new(kind, bpf_attach_type::BPF_SK_MSG_VERDICT).load(&instructions)?;
    SocketMap::of(&[socket], |map| program.attach_to(map))
}

/// Redirects data received by one socket to be sent by the other.
pub(super) fn redirect(from: &Socket, to: &Socket) -> Result<SocketMap> {
    const SK_REDIRECT_MAP: i32 = 52;
    let kind = bpf_prog_type::BPF_PROG_TYPE_SK_SKB;
    let program = Program::new(kind, bpf_attach_type::BPF_SK_SKB_STREAM_VERDICT);
    SocketMap::of(&[from, to], |map| {
        let instructions = [
            instruction(0x18, 0x12, 0, map.descriptor()), // r2 = the map
            instruction(0x00, 0x00, 0, 0),
            instruction(0xb7, 0x03, 0, 1), // r3 = 1, the key of `to`
            instruction(0xb7, 0x04, 0, 0), // r4 = 0
            instruction(0x85, 0x00, 0, SK_REDIRECT_MAP), // r0 = bpf_sk_redirect_map()
            instruction(0x95, 0x00, 0, 0), // exit
        ];
        program.load(&instructions)?.attach_to(map)
    })
}
