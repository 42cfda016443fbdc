//! Sockets whose data the kernel encrypts (kTLS).

use std::{io, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use nix::libc;
use socket2::Socket;

use super::modules;

/// `TLS_1_2_VERSION` and `TLS_CIPHER_AES_GCM_128` in `linux/tls.h`.
const VERSION_AND_CIPHER: [u8; 4] = [3, 3, 51, 0];

/// What follows in `struct tls12_crypto_info_aes_gcm_128`: IV, key, salt and record sequence number.
const SECRETS: [u8; 36] = [7; 36];

/// From `linux/tls.h`.
const TLS_TX: libc::c_int = 1;

/// Makes the kernel encrypt written data, with made-up keys. The peer does not decrypt it.
pub(super) fn encrypt(socket: &Socket) -> Result<()> {
    modules::require("tls")?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls").context("no kTLS")?;
    let keys = [&VERSION_AND_CIPHER[..], &SECRETS].concat();
    set(socket, libc::SOL_TLS, TLS_TX, &keys).context("kTLS does not take keys")
}

fn set(socket: &Socket, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let length = value.len().try_into().map_err(io::Error::other)?;
    // SAFETY: `value` has `length` bytes.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
