//! Writes archives in cpio's "newc" format, which the kernel unpacks as its first file system.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR_FILE: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// An archive being written. Parent directories of entries are added automatically.
pub(crate) struct Cpio<W: Write> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Cpio<W> {
    /// Starts an empty archive.
    pub(crate) fn new(out: W) -> Self {
        Self { out, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds a directory. Paths are absolute in the guest; the archive stores them without the
    /// leading slash.
    ///
    /// # Errors
    ///
    /// When the archive cannot be written. The same holds for all entries.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.parents(path)?;
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, (0, 0), &[])?;
        }
        Ok(())
    }

    /// Adds a file with these permissions.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, bytes: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, REGULAR_FILE | permissions, (0, 0), bytes)
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, SYMBOLIC_LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub(crate) fn device(
        &mut self,
        path: &str,
        permissions: u32,
        number: (u32, u32),
    ) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, CHARACTER_DEVICE | permissions, number, &[])
    }

    /// Ends the archive. Another one may follow directly.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("/TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => self.directory(parent),
            _ => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), bytes: &[u8]) -> io::Result<()> {
        let too_big = |_| io::Error::other(format!("{path} is too big for a cpio archive"));
        let name = path.trim_start_matches('/');
        let size = u32::try_from(bytes.len()).map_err(too_big)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_big)?;
        self.inode += 1;
        let links = 1;
        let fields =
            [self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        // The header has 110 bytes, the name ends with a zero byte, and everything is padded to a
        // multiple of four.
        self.out.write_all(&[0; 4][..=padding(110 + name.len() + 1)])?;
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 4][..padding(bytes.len())])
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and content of each entry, read back as the kernel reads them.
    fn parse(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        while !archive.is_empty() {
            assert_eq!(&archive[..6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&archive[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&archive[110..110 + name_size - 1]).unwrap().to_owned();
            let start = (110 + name_size).next_multiple_of(4);
            entries.push((name, mode, archive[start..start + size].to_vec()));
            archive = &archive[(start + size).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn entries_come_back_with_their_parents_before_them() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.file("/lib/a/b", 0o644, b"hello").unwrap();
        cpio.link("/lib/a/c", "b").unwrap();
        cpio.device("/dev/null", 0o666, (1, 3)).unwrap();
        let entries = parse(&cpio.finish().unwrap());
        let expected: Vec<(String, u32, Vec<u8>)> = vec![
            ("lib".into(), 0o040_755, vec![]),
            ("lib/a".into(), 0o040_755, vec![]),
            ("lib/a/b".into(), 0o100_644, b"hello".into()),
            ("lib/a/c".into(), 0o120_777, b"b".into()),
            ("dev".into(), 0o040_755, vec![]),
            ("dev/null".into(), 0o020_666, vec![]),
            ("TRAILER!!!".into(), 0, vec![]),
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn archives_may_follow_each_other() {
        let mut first = Cpio::new(Vec::new());
        first.file("/x", 0o600, b"1").unwrap();
        let mut second = Cpio::new(first.finish().unwrap());
        second.file("/x", 0o600, b"22").unwrap();
        assert_eq!(parse(&second.finish().unwrap()).len(), 4);
    }
}
