//! Libraries that a program needs, read from its ELF file, as a program of another architecture
//! cannot be run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use object::{
    LittleEndian,
    elf::{DT_NEEDED, FileHeader64},
    read::elf::{Dyn as _, FileHeader as _},
};

/// All libraries, also indirect ones, that a program needs, found in these directories.
///
/// # Errors
///
/// When a file is missing or malformed.
pub(crate) fn libraries(program: &Path, directories: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![program.to_owned()];
    while let Some(file) = open.pop() {
        let data = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let names =
            needed(&data).with_context(|| format!("{} is not a program", file.display()))?;
        for name in names {
            let mut paths = directories.iter().map(|directory| directory.join(&name));
            let path = paths
                .find(|path| path.exists())
                .with_context(|| format!("{} needs {name}, which is missing", file.display()))?;
            if found.insert(path.clone()) {
                open.push(path);
            }
        }
    }
    Ok(found)
}

/// Names of the libraries that a file itself needs.
fn needed(data: &[u8]) -> Result<Vec<String>, object::Error> {
    let endian = LittleEndian;
    let sections = FileHeader64::<LittleEndian>::parse(data)?.sections(endian, data)?;
    let Some((entries, names)) = sections.dynamic(endian, data)? else { return Ok(vec![]) };
    let names = sections.strings(endian, data, names)?;
    entries
        .iter()
        .filter(|entry| entry.tag(endian) == DT_NEEDED)
        .map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, names)?).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_file() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needed(&own).unwrap().contains(&"libc.so.6".to_owned()));
        assert!(needed(b"#!/bin/sh\n").is_err());
    }
}
