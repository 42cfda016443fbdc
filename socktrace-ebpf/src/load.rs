//! Two ways to read kernel memory, by direct loads and by helper, and one to read a program's memory.
//!
//! Direct loads go through pointers whose type the verifier knows (arguments of fentry and fexit
//! programs, and what is reached from them). The verifier checks every load against the kernel's
//! BTF, and a load through a stale or NULL pointer reads 0 instead of faulting. Direct loads cost
//! nothing and work under lockdown=confidentiality. The helper reads any address, but this lockdown
//! forbids it; it is the only way in kprobe programs, whose arguments are plain numbers.
//!
//! Code that reads a socket is generic over the way, so that both kinds of programs share it.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
    bpf_skc_to_tcp_sock,
};

use crate::{
    offsets::{self, Offset},
    uapi::{IPPROTO_TCP, SOCK_STREAM},
};

/// States of sockets that are smaller than a full one, in `include/net/tcp_states.h`:
/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV`.
const NOT_FULL: [u8; 2] = [6, 12];

/// A way to read a `T` at an address.
pub(crate) trait Load: Copy {
    /// Whether [`Self::make_cookie`] can make a cookie.
    const MAKES_COOKIES: bool;

    /// Whether it reads the current program's memory.
    const READS_USER: bool = false;

    /// Reads the `T` that is `offset` bytes after `base`; zero if it cannot be read.
    ///
    /// # Safety
    /// For [`Direct`], `base` is a pointer the verifier has typed, and a `T` lies at the offset in
    /// that type. The verifier rejects the program otherwise, so that a mistake here cannot reach
    /// the kernel.
    unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T;

    /// Reads the `T` at the offset of a fact; zero if this kernel lacks the member. `T` is an
    /// integer, a pointer or an array of them.
    ///
    /// # Safety
    /// As for [`Self::load`].
    #[inline(always)]
    unsafe fn member<T: Copy>(base: *const u8, offset: &impl Offset) -> T {
        match offset.offset() {
            // SAFETY: the caller's contract.
            Some(offset) => unsafe { Self::load(base, offset) },
            None => zero(),
        }
    }

    /// Reads what may lie past the end of the type that the verifier knows; zero if it cannot be read.
    ///
    /// # Safety
    /// For [`Direct`], `base` is a pointer the verifier has typed.
    #[inline(always)]
    unsafe fn load_past<T: Copy>(base: *const u8, offset: usize) -> T {
        // SAFETY: the caller's contract; the other ways are untyped.
        unsafe { Self::load(base, offset) }
    }

    /// The `struct sock` as the `struct tcp_sock` that begins with it; NULL if it is not a full TCP
    /// socket.
    ///
    /// # Safety
    /// As for [`Self::load`], with a `struct sock` or a struct that begins like one.
    unsafe fn tcp_sock(sock: *const u8) -> *const u8;

    /// Cookie of a `struct sock`, which the kernel makes if there is none yet; 0 if it cannot be
    /// obtained.
    ///
    /// # Safety
    /// As for [`Self::tcp_sock`].
    unsafe fn make_cookie(sock: *const u8) -> u64;
}

/// Direct loads through typed pointers.
#[derive(Clone, Copy)]
pub(crate) struct Direct;

impl Load for Direct {
    const MAKES_COOKIES: bool = true;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
        // SAFETY: the caller's contract; checked by the verifier load by load.
        let member = unsafe { base.add(offset) };
        // SAFETY: the caller's contract; checked by the verifier load by load. Volatile, so that loads are
        // neither merged nor widened past a member.
        unsafe { member.cast::<T>().read_volatile() }
    }

    #[inline(always)]
    unsafe fn load_past<T: Copy>(base: *const u8, offset: usize) -> T {
        if offsets::READ_KERNEL.get() == 1 { Probe::read(base, offset) } else { zero() }
    }

    #[inline(always)]
    unsafe fn tcp_sock(sock: *const u8) -> *const u8 {
        // SAFETY: the helper takes any typed socket pointer and checks what it is.
        unsafe { bpf_skc_to_tcp_sock(sock.cast_mut().cast()) }.cast_const().cast()
    }

    #[inline(always)]
    unsafe fn make_cookie(sock: *const u8) -> u64 {
        if offsets::COOKIES.get() != 1 {
            // SAFETY: the caller's contract.
            return unsafe { Self::member(sock, &offsets::SOCK_COOKIE) };
        }
        // SAFETY: the helper takes any typed socket pointer.
        unsafe { bpf_get_socket_cookie(sock.cast_mut().cast()) }
    }
}

/// Reads by `bpf_probe_read_kernel`, at any address. Only for use where [`READ_KERNEL`] allows it.
///
/// [`READ_KERNEL`]: crate::offsets::READ_KERNEL
#[derive(Clone, Copy)]
pub(crate) struct Probe;

impl Probe {
    /// Reads the `T` that is `offset` bytes after `base`. Any address will do: unreadable memory
    /// reads as zero. `T` is an integer, a pointer or an array of them.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(base: *const u8, offset: usize) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        let size = size_of::<T>() as u32;
        let address = base.wrapping_add(offset).cast();
        // SAFETY: the helper writes `size` bytes to `value` and checks the address itself.
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size, address) };
        // SAFETY: written, with zeroes if need be; any bit pattern is a `T`.
        unsafe { value.assume_init() }
    }

    /// Reads into `value`, without a copy on the 512-byte stack.
    #[inline(always)]
    pub(crate) fn read_to<T: Copy>(value: &mut T, base: *const u8, offset: usize) {
        let address = base.wrapping_add(offset).cast();
        // SAFETY: the helper writes exactly the size of `value`, and checks the address itself.
        unsafe { bpf_probe_read_kernel((&raw mut *value).cast(), size_of::<T>() as u32, address) };
    }

    /// Reads NUL-terminated text into an all-NUL buffer, truncated if it is longer.
    #[inline(always)]
    pub(crate) fn read_text<const N: usize>(address: *const u8, text: &mut [u8; N]) {
        // SAFETY: the helper writes at most `N` bytes to `text` and checks the address itself.
        unsafe {
            bpf_probe_read_kernel_str(text.as_mut_ptr().cast(), N as u32, address.cast());
        }
    }

    /// Reads the text in a member into `text`, without a copy on the 512-byte stack: all NUL after
    /// the text's end, where the kernel may have left more, and if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn read_text_member<const N: usize>(
        base: *const u8,
        offset: &impl Offset,
        text: &mut [u8; N],
    ) {
        *text = [0; N];
        if let Some(offset) = offset.offset() {
            Self::read_text(base.wrapping_add(offset), text);
        }
    }

    /// [`Self::read`] at the offset of a fact; zero if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn read_member<T: Copy>(base: *const u8, offset: &impl Offset) -> T {
        offset.offset().map_or_else(zero, |offset| Self::read(base, offset))
    }
}

impl Load for Probe {
    const MAKES_COOKIES: bool = false;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
        Self::read(base, offset)
    }

    /// Checks what the helper for typed pointers checks, which kprobe programs cannot call.
    #[inline(always)]
    unsafe fn tcp_sock(sock: *const u8) -> *const u8 {
        let state: u8 = Self::read_member(sock, &offsets::SOCK_STATE);
        if !NOT_FULL.contains(&state)
            && Self::read_member::<u16>(sock, &offsets::SOCK_PROTOCOL) == IPPROTO_TCP
            && Self::read_member::<u16>(sock, &offsets::SOCK_TYPE) == SOCK_STREAM
        {
            sock
        } else {
            core::ptr::null()
        }
    }

    #[inline(always)]
    unsafe fn make_cookie(sock: *const u8) -> u64 {
        Self::read_member(sock, &offsets::SOCK_COOKIE)
    }
}

/// Reads the current program's memory by `bpf_probe_read_user`, which lockdown does not forbid. The
/// memory may have changed since the kernel read it.
#[derive(Clone, Copy)]
pub(crate) struct User;

impl Load for User {
    const MAKES_COOKIES: bool = false;
    const READS_USER: bool = true;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        let size = size_of::<T>() as u32;
        let address = base.wrapping_add(offset).cast();
        // SAFETY: the helper writes `size` bytes to `value` and checks the address itself.
        unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size, address) };
        // SAFETY: written, with zeroes if need be; any bit pattern is a `T`.
        unsafe { value.assume_init() }
    }

    /// No socket lies in a program's memory.
    #[inline(always)]
    unsafe fn tcp_sock(_sock: *const u8) -> *const u8 {
        core::ptr::null()
    }

    #[inline(always)]
    unsafe fn make_cookie(_sock: *const u8) -> u64 {
        0
    }
}

/// A pointer as a plain number, whatever its type to the verifier, which allows neither arithmetic
/// on such a pointer nor passing it to a global function.
#[inline(always)]
pub(crate) fn number(pointer: *const u8) -> u64 {
    let mut number = pointer as u64;
    // SAFETY: negates a register twice, which leaves its value. To the verifier, a negated pointer
    // is no longer a pointer (`check_alu_op`).
    unsafe { asm!("{number} = -{number}", "{number} = -{number}", number = inout(reg) number) };
    number
}

#[inline(always)]
fn zero<T: Copy>() -> T {
    // SAFETY: only integers, pointers and arrays of them are loaded: all zeroes is one.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
