//! Fuzz tests: any bytes as BTF yield a plan or a refusal.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    btf::Btf,
    plan::{Method, plan},
    subject,
};

/// Size of a patch: a position, in words of four bytes, and the new value.
const PATCH: usize = 6;

/// Makes plans with all methods. The reduced BTF must be valid again.
fn examine(bytes: Vec<u8>) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for method in [Method::Auto, Method::Fentry, Method::Kprobe] {
        let _any = plan(&btf, method);
    }
    let subjects = subject::all();
    for subject in &subjects {
        let _any = subject.describe(&btf);
    }
    for cut in [btf.skeleton(subjects.iter().copied()), btf.reduced(&subjects)] {
        let cut = Btf::parse(cut);
        assert!(cut.is_ok(), "{:?}", cut.err());
    }
}

/// The captured BTF of all series, oldest first.
fn fixtures() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = fs::read_dir(directory).expect("fixtures");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

#[test]
fn btf() {
    bolero::check!(name = "btf").for_each(|bytes: &[u8]| examine(bytes.to_vec()));
}

/// Input: a kernel's own BTF, chosen by the first byte, with some words overwritten.
#[test]
fn patched_btf() {
    let fixtures = fixtures();
    bolero::check!(name = "patched_btf").for_each(move |bytes: &[u8]| {
        let Some((choice, patches)) = bytes.split_first() else { return };
        let mut btf = fixtures[usize::from(*choice) % fixtures.len()].clone();
        for patch in patches.chunks_exact(PATCH) {
            let (place, word) = patch.split_at(2);
            let words = btf.len() / 4;
            let at = 4 * (usize::from(u16::from_le_bytes([place[0], place[1]])) % words);
            btf[at..at + 4].copy_from_slice(word);
        }
        examine(btf);
    });
}
