//! Errnos that decide what a hook does, and the return values that carry them.

use crate::signal;

pub(crate) const EPERM: u16 = 1;
pub(crate) const ENOENT: u16 = 2;
pub(crate) const EINTR: u16 = 4;
pub(crate) const EBADF: u16 = 9;
pub(crate) const EAGAIN: u16 = 11;
pub(crate) const ENOMEM: u16 = 12;
pub(crate) const EACCES: u16 = 13;
pub(crate) const EFAULT: u16 = 14;
pub(crate) const EBUSY: u16 = 16;
pub(crate) const EINVAL: u16 = 22;
pub(crate) const ENFILE: u16 = 23;
pub(crate) const EMFILE: u16 = 24;
pub(crate) const EPIPE: u16 = 32;
pub(crate) const ENONET: u16 = 64;
pub(crate) const EPROTO: u16 = 71;
pub(crate) const EBADMSG: u16 = 74;
pub(crate) const ENOTSOCK: u16 = 88;
pub(crate) const EMSGSIZE: u16 = 90;
pub(crate) const ENOPROTOOPT: u16 = 92;
pub(crate) const EOPNOTSUPP: u16 = 95;
pub(crate) const ENETUNREACH: u16 = 101;
pub(crate) const ECONNRESET: u16 = 104;
pub(crate) const ENOBUFS: u16 = 105;
pub(crate) const EISCONN: u16 = 106;
pub(crate) const ECONNABORTED: u16 = 103;
pub(crate) const ETIMEDOUT: u16 = 110;
pub(crate) const ECONNREFUSED: u16 = 111;
pub(crate) const EHOSTDOWN: u16 = 112;
pub(crate) const EHOSTUNREACH: u16 = 113;
pub(crate) const EALREADY: u16 = 114;
pub(crate) const EINPROGRESS: u16 = 115;
pub(crate) const ECANCELED: u16 = 125;

/// The kernel's own values for an interrupted call, from `include/linux/errno.h`.
const ERESTARTSYS: u16 = 512;
const ERESTARTNOINTR: u16 = 513;
const ERESTARTNOHAND: u16 = 514;
const ERESTART_RESTARTBLOCK: u16 = 516;

/// Errno that a program gets from the return value of a kernel function; 0 for success, and for an
/// interrupted call that is restarted without the program's knowledge.
///
/// An `int` in a 64-bit register has garbage in its upper half.
#[inline(always)]
pub(crate) fn returned(value: u64) -> u16 {
    let value = value as i32;
    if value >= 0 {
        return 0;
    }
    let interrupted = match value.wrapping_neg() as u16 {
        ERESTARTNOINTR => false,
        ERESTARTSYS => signal::interrupts(true),
        ERESTARTNOHAND | ERESTART_RESTARTBLOCK => signal::interrupts(false),
        errno => return errno,
    };
    if interrupted { EINTR } else { 0 }
}
