//! The name of a Unix socket, and what is known of the end that another program has.

/// Size of `sun_path` in `struct sockaddr_un`.
pub const PATH_BYTES: usize = 108;

/// The name of a Unix socket, as `sun_path` has it: a path in the file system, which ends at its first
/// NUL, or after a NUL an abstract name.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// How many of the bytes mean something; 0 for no name.
    pub length: u32,
    /// The bytes; whatever was there before after those.
    pub bytes: [u8; PATH_BYTES],
}

impl Default for Path {
    fn default() -> Self {
        Self { length: 0, bytes: [0; PATH_BYTES] }
    }
}

impl Path {
    /// The name without what follows it; `None` for a socket that has none.
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

/// The end that another program of this host has: a listener, or the peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FarEnd {
    /// Cgroup of its process, as [`super::Event::cgroup_id`] has that of the event's; 0 when unknown.
    pub cgroup_id: u64,
    /// Of a listener that had no room, connections that wait in its queue.
    pub waiting: u32,
    /// Beyond how many another one is refused.
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
