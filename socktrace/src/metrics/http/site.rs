//! The pages: metrics, health, readiness, and an index for people.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
    },
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::{index, page::Wanted, scrapes::Scrapes};
use crate::metrics::{Gather, Hooks, Pulse, pulse::PATIENCE};

/// What the pages show.
pub(crate) struct Site {
    pub(crate) gather: Arc<Gather>,
    pub(crate) pulse: Pulse,
    pub(crate) hooks: Hooks,
}

/// What handlers of requests share.
struct Pages {
    scrapes: Scrapes,
    pulse: Pulse,
    hooks: Hooks,
    index: String,
}

/// Answers requests.
pub(super) fn router(site: Site) -> Router {
    let index = index::page(&site.hooks);
    let scrapes = Scrapes::new(site.gather);
    let pages = Pages { scrapes, pulse: site.pulse, hooks: site.hooks, index };
    // HEAD is answered as GET without the body; other methods with 405 and what is allowed.
    Router::new()
        .route("/", get(front))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .with_state(Arc::new(pages))
}

async fn front(State(pages): State<Arc<Pages>>) -> Html<String> {
    Html(pages.index.clone())
}

async fn metrics(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    let wanted = Wanted::by(&headers);
    let page = match pages.scrapes.page(wanted).await {
        Ok(page) => page,
        Err(error) => {
            log::error!("{error:#}");
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response();
        }
    };
    let mut response = page.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wanted.format.content_type()));
    headers.append(VARY, ACCEPT.into());
    headers.append(VARY, ACCEPT_ENCODING.into());
    if wanted.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether the process does its work; one that does not is to be started anew.
async fn healthz(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    if pages.pulse.is_felt().await {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let text = format!("the event loop has not answered for {} s\n", PATIENCE.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Whether failures are seen, and which kinds are not.
async fn readyz(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    let hooks = &pages.hooks;
    let status =
        if hooks.attached.is_empty() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut lines = vec![format!("hooks: {}\n", hooks.attached.join(", "))];
    lines.extend(hooks.problems.iter().map(|problem| format!("not attached: {problem}\n")));
    (status, lines.concat())
}

async fn not_found(uri: Uri) -> (StatusCode, String) {
    let text = format!("there is no {}; there are /metrics, /healthz, /readyz and /\n", uri.path());
    (StatusCode::NOT_FOUND, text)
}
