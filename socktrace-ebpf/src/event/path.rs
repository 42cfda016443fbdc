//! Name of a Unix socket, and facts about the end that another program holds.

/// Size of `sun_path` in `struct sockaddr_un`.
pub const PATH_BYTES: usize = 108;

/// Name of a Unix socket, as in `sun_path`: a file system path that ends at its first NUL, or an
/// abstract name after a leading NUL.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Number of valid bytes; 0 for no name.
    pub length: u32,
    /// The bytes; those after the valid ones are stale.
    pub bytes: [u8; PATH_BYTES],
}

impl Default for Path {
    fn default() -> Self {
        Self { length: 0, bytes: [0; PATH_BYTES] }
    }
}

impl Path {
    /// The name without the bytes that follow it; `None` for an unnamed socket.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        let given = self.bytes.get(..self.length as usize)?;
        match given {
            [] => None,
            [0, ..] => Some(given),
            path => path.split(|&byte| byte == 0).next(),
        }
    }
}

/// End of a Unix socket that another program on this host holds: a listener, or the peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FarEnd {
    /// Cgroup of the process at that end, like [`super::Event::cgroup_id`]; 0 if unknown.
    pub cgroup_id: u64,
    /// Connections waiting in the queue of a listener that had no room.
    pub waiting: u32,
    /// Number of waiting connections beyond which another is refused.
    pub limit: u32,
}

const _: () = assert!(size_of::<Path>() == 112 && size_of::<FarEnd>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &[u8]) -> Path {
        let mut path =
            Path { length: u32::try_from(name.len()).expect("short"), ..Path::default() };
        path.bytes[..name.len()].copy_from_slice(name);
        path
    }

    #[test]
    fn a_path_ends_at_its_nul_and_an_abstract_name_does_not() {
        assert_eq!(path(b"/run/a.sock\0rest").name(), Some(&b"/run/a.sock"[..]));
        assert_eq!(path(b"/run/a.sock").name(), Some(&b"/run/a.sock"[..]));
        assert_eq!(path(b"\0name\0x").name(), Some(&b"\0name\0x"[..]));
        assert_eq!(path(&[b'x'; PATH_BYTES]).name(), Some(&[b'x'; PATH_BYTES][..]));
        assert_eq!(Path::default().name(), None);
        assert_eq!(Path { length: 109, ..Path::default() }.name(), None, "longer than there is");
    }
}
