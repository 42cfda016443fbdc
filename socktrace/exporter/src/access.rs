//! The web configuration file in force, reloaded when it or a file named in it changes.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::WWW_AUTHENTICATE},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use governor::DefaultDirectRateLimiter;
use rustls::ServerConfig;

use super::{credentials::Credentials, site::HEALTH, tls, web_config::WebConfig};

/// Rules for client access to the pages.
pub struct Access {
    /// The web configuration file, if any.
    file: Option<PathBuf>,
    /// Whether the health pages are protected like all others.
    protects_health: bool,
    current: Mutex<Current>,
}

struct Current {
    /// The files read, as they were then.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    rules: Arc<Rules>,
}

/// Identifies a version of a file: device, inode, size, modification and change time.
type Stamp = (u64, u64, u64, [i64; 4]);

/// Settings of a file, ready for use.
pub(super) struct Rules {
    pub(super) tls: Option<Arc<ServerConfig>>,
    headers: HeaderMap,
    credentials: Credentials,
    limiter: Option<DefaultDirectRateLimiter>,
}

/// Error for an unusable web configuration file.
#[derive(Debug, thiserror::Error)]
#[error("the web configuration file {} cannot be used", .0.display())]
pub struct UnusableWebConfig(PathBuf);

impl Access {
    /// Access according to a file, or for everyone without one. The health pages are open to
    /// everyone unless `protects_health` is set: otherwise a probe without credentials would get a
    /// healthy daemon killed.
    ///
    /// # Errors
    /// When the file, or one named in it, cannot be read or used.
    pub fn open(file: Option<&Path>, protects_health: bool) -> anyhow::Result<Self> {
        let (stamps, rules) = match file {
            None => (Vec::new(), Rules::new(&WebConfig::default())),
            Some(file) => load(file),
        };
        let rules = rules.map_err(|error| match file {
            Some(file) => error.context(UnusableWebConfig(file.to_owned())),
            None => error,
        })?;
        let current = Mutex::new(Current { stamps, rules: Arc::new(rules) });
        Ok(Self { file: file.map(Path::to_owned), protects_health, current })
    }

    /// Access for everyone.
    pub(super) fn for_everybody() -> anyhow::Result<Self> {
        Self::open(None, false)
    }

    /// The rules in force. An unusable change is logged once and otherwise ignored.
    pub(super) fn rules(&self) -> Arc<Rules> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = current.stamps.iter().any(|(path, before)| stamp(path) != *before);
        if let Some(file) = self.file.as_ref().filter(|_| changed) {
            let (stamps, rules) = load(file);
            current.stamps = stamps;
            match rules {
                Ok(rules) => {
                    log::info!(
                        "reloaded {}, as it or a file that it names has changed",
                        file.display()
                    );
                    current.rules = Arc::new(rules);
                }
                Err(error) => {
                    log::error!("{}: {error:#}; the previous one stays in force", file.display());
                }
            }
        }
        Arc::clone(&current.rules)
    }

    /// The files read; they are reloaded when they change.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.stamps.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Whether clients must speak TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.rules().tls.is_some()
    }
}

/// Reads a file and those named in it. Also returns their stamps from just before reading.
fn load(file: &Path) -> (Vec<(PathBuf, Option<Stamp>)>, anyhow::Result<Rules>) {
    let mut stamps = vec![(file.to_owned(), stamp(file))];
    let config = parse(file);
    if let Ok(WebConfig { tls: Some(tls), .. }) = &config {
        stamps.extend(tls.files().into_iter().map(|path| (path.to_owned(), stamp(path))));
    }
    let rules = config.and_then(|config| {
        for note in &config.notes {
            log::warn!("{}, {note}", file.display());
        }
        Rules::new(&config)
    });
    (stamps, rules)
}

fn parse(file: &Path) -> anyhow::Result<WebConfig> {
    let text = fs::read_to_string(file).context("cannot read it")?;
    let directory = file.parent().unwrap_or(Path::new(""));
    Ok(WebConfig::parse(&text, directory)?)
}

/// `None` if the file's metadata cannot be read.
fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    let times = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
    Some((data.dev(), data.ino(), data.size(), times))
}

impl Rules {
    fn new(config: &WebConfig) -> anyhow::Result<Self> {
        let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
        Ok(Self {
            tls: tls.map(Arc::new),
            headers: config.headers.clone(),
            credentials: Credentials::new(config.users.clone(), config.tokens.clone())?,
            limiter: config.rate.map(DefaultDirectRateLimiter::direct),
        })
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        if self.limiter.as_ref().is_some_and(|limiter| limiter.check().is_err()) {
            return (StatusCode::TOO_MANY_REQUESTS, "too many requests\n").into_response();
        }
        if self.credentials.admit(request.headers()).await {
            return next.run(request).await;
        }
        let mut response = (StatusCode::UNAUTHORIZED, "not authorized\n").into_response();
        for challenge in self.credentials.challenges() {
            response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Middleware that passes on the requests admitted by the rules.
pub(super) async fn enforce(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let rules = access.rules();
    let is_open = !access.protects_health && HEALTH.contains(&request.uri().path());
    let mut response =
        if is_open { next.run(request).await } else { rules.answer(request, next).await };
    response.headers_mut().extend(rules.headers.clone());
    response
}
