//! CONTRIBUTING.md names files and directories that exist.

use std::{fs, path::Path};

#[test]
fn every_path_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let top = ["socktrace/", "socktrace-ebpf/", "xtask/", "deploy/", "docs/"];
    let quoted = text.split('`').skip(1).step_by(2);
    // In capitals a path has a place for a name.
    let paths: Vec<_> = quoted
        .filter(|text| top.iter().any(|start| text.starts_with(start)))
        .filter(|path| !path.contains("NAME") && !path.contains("GROUP"))
        .collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "{path} is gone");
    }
}
