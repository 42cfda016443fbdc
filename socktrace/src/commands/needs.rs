//! Access that a running trace needs, as configured.

use std::{
    fs,
    path::{self, Path, PathBuf},
};

use socktrace_exporter::{Access, Listen};
use socktrace_otlp::Settings;

use crate::{config::Resolved, owner, service::sandbox::Needs};

/// Returns these needs. Files are listed by their directories, because files are replaced when they
/// change: the directories that they are named in, and those that links lead to.
pub(super) fn needs(resolved: &Resolved, access: &Access) -> Needs {
    let cli = &resolved.cli;
    let web = access.files();
    let otlp = resolved.otlp.iter().flat_map(Settings::files);
    let files = web.iter().map(PathBuf::as_path).chain(otlp).chain([resolved.file.as_path()]);
    let files = files.flat_map(|file| [Some(file.to_owned()), fs::canonicalize(file).ok()]);
    let mut reads: Vec<_> = files.flatten().filter_map(|file| directory(&file)).collect();
    reads.extend(owner::name_directories());
    reads.extend(owner::cgroup_layout().ok().and_then(|layout| layout.unified));
    let sockets = cli.listen.iter().chain(&cli.health_listen).filter_map(|listen| match listen {
        Listen::Unix { path, .. } => directory(path),
        _ => None,
    });
    let ports = resolved.otlp.as_ref().map(|settings| settings.ports().to_vec());
    Needs {
        reads,
        history: cli.history.is_on.then(|| directory(&cli.history.file)).flatten(),
        sockets: sockets.collect(),
        ports: ports.or_else(|| cli.resolve.then(Vec::new)),
        follows: cli.follows(),
        ..Needs::default()
    }
}

fn directory(file: &Path) -> Option<PathBuf> {
    path::absolute(file).ok()?.parent().map(Path::to_owned)
}
