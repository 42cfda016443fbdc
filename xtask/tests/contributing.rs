//! Checks of CONTRIBUTING.md and Cargo.toml against the repository.

use std::{fs, path::Path};

#[test]
fn contributing_names_paths_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let top = ["socktrace/", "socktrace-ebpf/", "xtask/", "deploy/", "docs/"];
    let quoted = text.split('`').skip(1).step_by(2);
    // A path with a word in capitals is a template.
    let paths: Vec<_> = quoted
        .filter(|text| top.iter().any(|start| text.starts_with(start)))
        .filter(|path| !path.contains("NAME") && !path.contains("GROUP"))
        .collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "{path} is gone");
    }
}

#[test]
fn every_crate_has_its_job_beside_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let text = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let section = text.split("[workspace.dependencies]\n").nth(1).expect("dependencies");
    let lines: Vec<_> = section.lines().take_while(|line| !line.starts_with('[')).collect();
    let mut found = 0;
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ")) {
        // Skips the crates of this repository.
        if !pair[1].contains("path = ") {
            found += 1;
            assert!(pair[0].starts_with('#'), "what is this for? {}", pair[1]);
        }
    }
    assert!(found > 40, "only {found} were found: are they written in another way now?");
}
