//! Checks that the rooms of this crate, its top-level modules, depend on each other in one
//! direction, and that only `kernel` uses the library that loads programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each room with the rooms that it may use, which must be earlier in this list.
const ROOMS: &[(&str, &[&str])] = &[
    ("kernel", &[]),
    ("explain", &[]),
    ("service", &["kernel"]),
    ("follow", &["kernel"]),
    ("owner", &["kernel"]),
    ("record", &["kernel", "owner"]),
    ("filter", &["kernel", "owner", "record"]),
    ("counts", &["kernel", "owner", "record", "filter"]),
    ("sinks", &["kernel", "owner", "record", "filter", "counts"]),
    ("metrics", &["kernel", "owner", "record", "filter", "counts"]),
    ("history", &["record", "counts", "sinks"]),
    ("otlp", &["owner", "record", "counts", "sinks"]),
    ("pipeline", &["kernel", "owner", "record", "filter", "counts", "sinks", "metrics"]),
    ("doctor", &["kernel", "owner", "service", "follow"]),
    ("cli", &["kernel", "filter", "explain", "service", "sinks"]),
    ("config", &["cli", "owner"]),
    ("top", &["explain", "service", "filter", "record", "counts", "sinks", "cli"]),
    (
        "commands",
        &[
            "kernel", "explain", "service", "follow", "owner", "record", "filter", "counts",
            "sinks", "metrics", "otlp", "history", "pipeline", "doctor", "cli", "config", "top",
        ],
    ),
];

/// Libraries that load programs.
const LOADERS: [&str; 2] = ["aya", "aya_log"];

/// Returns the code without comments, and without the tests in the same file.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let (code, _tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Source files that are not tests, with their rooms.
fn files() -> Vec<(String, PathBuf)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs")
                && !(name.ends_with("tests") || name == "fuzz")
            {
                found.push(path);
            }
        }
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&sources, &mut found);
    let room = |path: &Path| {
        let first = path.strip_prefix(&sources).expect("below it").components().next();
        let first = first.expect("a name").as_os_str().to_str().expect("text");
        first.trim_end_matches(".rs").to_owned()
    };
    let roots = ["lib", "main", "rooms"];
    let files = found.into_iter().map(|path| (room(&path), path));
    files.filter(|(room, _)| !roots.contains(&room.as_str())).collect()
}

/// Rooms that a piece of code names: the first identifiers after `crate::`.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, word) in code.match_indices("crate::") {
        let rest = &code[at + word.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut first = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => first = true,
                _ if first && !c.is_whitespace() => {
                    used.insert(name(&group[at..]));
                    first = false;
                }
                _ => {}
            }
        }
    }
    used
}

/// Identifier at the start of a text.
fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let allowed: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    for (index, (room, uses)) in ROOMS.iter().enumerate() {
        let below: Vec<_> = ROOMS[..index].iter().map(|(room, _)| *room).collect();
        let all_below = uses.iter().all(|used| below.contains(used));
        assert!(all_below, "{room} may use only what stands before it");
    }
    let mut seen = BTreeSet::new();
    for (room, path) in files() {
        let uses = allowed.get(room.as_str()).unwrap_or_else(|| panic!("{room} is not a room"));
        for used in used(&code(&path)) {
            let is_allowed = used == room || uses.contains(&used.as_str());
            assert!(is_allowed, "{} uses {used}, which {room} may not", path.display());
        }
        seen.insert(room);
    }
    let rooms: BTreeSet<_> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(seen, rooms);
}

#[test]
fn only_the_kernel_room_knows_the_loader() {
    for (room, path) in files() {
        let code = code(&path);
        let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let knows = words.into_iter().any(|word| LOADERS.contains(&word));
        assert!(room == "kernel" || !knows, "{} names the loader", path.display());
    }
}

#[test]
fn uses_are_found_in_groups_and_paths() {
    let code = "use crate::{\n    a::{b, c::{d}},\n    e::f,\n};\nlet x = crate::g::h();";
    assert_eq!(used(code).into_iter().collect::<Vec<_>>(), ["a", "e", "g"]);
}
