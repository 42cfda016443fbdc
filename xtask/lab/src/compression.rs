//! Decompression of files, by their magic numbers.

use std::{fs::File, io::Read as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An uncompressed ELF file.
    Elf,
    /// Compressed, and unpacked by this program.
    Packed(&'static str),
}

impl Format {
    /// Detects the format from the first bytes of a file.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], Format); 5] = [
            (b"\x7fELF", Format::Elf),
            (b"\x1f\x8b", Format::Packed("gzip")),
            (b"\xfd7zXZ\0", Format::Packed("xz")),
            (b"\x28\xb5\x2f\xfd", Format::Packed("zstd")),
            // The frame format that the kernel's build produces.
            (b"\x02\x21\x4c\x18", Format::Packed("lz4")),
        ];
        MAGIC.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, format)| format)
    }
}

/// Returns a file's uncompressed content.
///
/// # Errors
///
/// When it cannot be read or unpacked.
pub(crate) fn content(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut start = Vec::new();
    file.by_ref()
        .take(8)
        .read_to_end(&mut start)
        .with_context(|| format!("cannot read {shown}"))?;
    match Format::of(&start) {
        Some(Format::Elf) => {
            let mut content = start;
            file.read_to_end(&mut content).with_context(|| format!("cannot read {shown}"))?;
            Ok(content)
        }
        Some(Format::Packed(program)) => {
            process::raw_output(Command::new(program).args(["-dc", "--"]).arg(path))
        }
        None => bail!("{shown} is compressed in an unknown way"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn formats_are_recognized_by_their_first_bytes() {
        assert_eq!(Format::of(b"\x7fELF\x02\x01"), Some(Format::Elf));
        assert_eq!(Format::of(b"\x1f\x8b\x08"), Some(Format::Packed("gzip")));
        assert_eq!(Format::of(b"\x02\x21\x4c\x18"), Some(Format::Packed("lz4")));
        assert_eq!(Format::of(b"MZ"), None);
        assert_eq!(Format::of(b""), None);
    }

    #[test]
    fn what_is_not_packed_is_read_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"\x7fELF and more than eight bytes").unwrap();
        assert_eq!(content(file.path()).unwrap(), b"\x7fELF and more than eight bytes");
        fs::write(file.path(), b"text").unwrap();
        assert!(content(file.path()).is_err());
    }
}
