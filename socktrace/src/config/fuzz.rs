//! Fuzz tests: whatever a file or the environment contains is either understood or reported as
//! wrong.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use super::{Error, Resolved, environment, print};
use crate::owner::is_deceptive;

fn resolve(variables: Vec<(OsString, OsString)>, file: &Path) -> Result<Resolved, Error> {
    Resolved::new(["socktrace".into()].into_iter(), variables.into_iter(), file)
}

/// Problems name the line; valid settings are printed as an equivalent file.
#[test]
fn files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socktrace.toml");
    let copy = directory.path().join("copy.toml");
    bolero::check!(name = "files").for_each(move |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        match resolve(Vec::new(), &path) {
            Ok(resolved) => {
                let mut settings = Vec::new();
                print(&mut settings, &resolved).expect("memory");
                fs::write(&copy, &settings).expect("written");
                let again = resolve(Vec::new(), &copy);
                let again = again.unwrap_or_else(|error| {
                    panic!("{}: {error:?}", String::from_utf8_lossy(&settings))
                });
                assert_eq!(resolved.changes(&again), [""; 0]);
            }
            Err(Error::Settings(problems)) => {
                assert!(!problems.is_empty());
                let lines = bytes.split(|&byte| byte == b'\n').count();
                for problem in problems {
                    assert!(!problem.contains(is_deceptive), "{problem:?}");
                    let line = line_of(&problem, &path);
                    assert!((1..=lines).contains(&line), "{problem:?}");
                }
            }
            // Two settings that conflict.
            Err(Error::Usage(error)) => assert_eq!(error.exit_code(), 2),
        }
    });
}

/// First line that a problem names.
fn line_of(problem: &str, path: &Path) -> usize {
    let place = format!("{}:", path.display());
    let rest = problem.split_once(&place).unwrap_or_else(|| panic!("no place: {problem:?}")).1;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().unwrap_or_else(|_| panic!("no line: {problem:?}"))
}

/// Variables, each with its name and value terminated by a zero byte.
#[test]
fn variables() {
    bolero::check!(name = "variables").for_each(|bytes: &[u8]| {
        let words: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
        let variables: Vec<_> = words
            .chunks_exact(2)
            .map(|pair| {
                let name = [environment::PREFIX.as_bytes(), pair[0]].concat();
                (OsString::from_vec(name), OsStr::from_bytes(pair[1]).to_owned())
            })
            // The file to read is not left to chance.
            .filter(|(name, _)| name != environment::FILE)
            .collect();
        if let Err(Error::Settings(problems)) = resolve(variables, Path::new("/nowhere")) {
            for problem in problems {
                assert!(problem.contains(environment::PREFIX), "{problem:?}");
                assert!(!problem.contains(is_deceptive), "{problem:?}");
            }
        }
    });
}
