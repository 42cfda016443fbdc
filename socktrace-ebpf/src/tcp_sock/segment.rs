//! Segment headers, as stored by TCP.

use core::marker::PhantomData;

use crate::{
    load::Load,
    offsets::{self, Fact, Offset as _},
};

/// `TCPHDR_*` in `include/net/tcp.h`.
const TCPHDR_SYN: u8 = 0x02;
const TCPHDR_RST: u8 = 0x04;
const TCPHDR_ACK: u8 = 0x10;

/// A `struct sk_buff` with a received segment.
///
/// `tcp_v4_rcv` and `tcp_v6_rcv` copy the header into the buffer's control block, a `struct
/// tcp_skb_cb`, before they look at any state (`tcp_v4_fill_cb`). It is part of `struct sk_buff`
/// itself, and so needs no packet access.
#[derive(Clone, Copy)]
pub(crate) struct Segment<L> {
    skb: *const u8,
    /// Offset of the control block.
    control_block: usize,
    way: PhantomData<L>,
}

impl<L: Load> Segment<L> {
    /// The hook's `struct sk_buff` argument; `None` if this kernel does not let it be read.
    #[inline(always)]
    pub(crate) fn of(skb: *const u8) -> Option<Self> {
        let control_block = offsets::SKB_CB.offset()?;
        Some(Self { skb, control_block, way: PhantomData })
    }

    #[inline(always)]
    fn load<T: Copy>(self, member: &Fact) -> T {
        // SAFETY: a `struct sk_buff`, and an offset in the `struct tcp_skb_cb` in its control block.
        unsafe { L::load(self.skb, self.control_block + member.get() as usize) }
    }

    /// Flags of the header: one byte up to 6.12, two from 6.16. x86 and arm64 are little-endian, so
    /// the low byte comes first in both layouts.
    #[inline(always)]
    fn flags(self) -> u8 {
        self.load(offsets::SKB_CB_TCP_FLAGS.present())
    }

    /// Whether it carries RST.
    #[inline(always)]
    pub(crate) fn has_rst(self) -> bool {
        self.flags() & TCPHDR_RST != 0
    }

    /// Whether it requests a connection: SYN without ACK.
    #[inline(always)]
    pub(crate) fn is_request(self) -> bool {
        self.flags() & (TCPHDR_SYN | TCPHDR_ACK) == TCPHDR_SYN
    }

    /// Sequence and acknowledgement numbers of an RST that answers it (`tcp_v4_send_reset`,
    /// `tcp_v6_send_reset`; 5.10 to 7.3).
    #[inline(always)]
    pub(crate) fn answer(self) -> [u32; 2] {
        if self.flags() & TCPHDR_ACK != 0 {
            let [_, acknowledged] = self.numbers();
            [acknowledged, 0]
        } else {
            [0, self.load(offsets::SKB_CB_END_SEQ.present())]
        }
    }

    /// Sequence and acknowledgement numbers, as in the header.
    #[inline(always)]
    pub(crate) fn numbers(self) -> [u32; 2] {
        [self.load(offsets::SKB_CB_SEQ.present()), self.load(offsets::SKB_CB_ACK_SEQ.present())]
    }
}
