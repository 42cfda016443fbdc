//! The pages: metrics, health, readiness, and an HTML index.

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

use super::{
    page::Wanted,
    scrapes::{Gather, Scrapes},
    watchdog::{Liveness, PATIENCE},
};

/// Contents of the pages.
pub struct Site {
    /// Reads the current metrics; never called concurrently.
    pub gather: Arc<Gather>,
    /// Checks the event loop whose health `/healthz` reports.
    pub liveness: Liveness,
    /// Answer of `/readyz`.
    pub readiness: Readiness,
    /// The page at `/`, in HTML.
    pub index: String,
}

/// Whether the exporter has anything to export. Fixed at the start.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Status 200 if true, else 503.
    pub is_ready: bool,
    /// Details, as lines of plain text.
    pub text: String,
}

/// The health pages, which need no credentials unless configured to.
pub(super) const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// State shared by request handlers.
struct Pages {
    scrapes: Scrapes,
    liveness: Liveness,
    readiness: Readiness,
    index: String,
}

/// Routers for requests: one for all pages, and one for the health pages alone.
pub(super) fn routers(site: Site) -> (Router, Router) {
    let Site { gather, liveness, readiness, index } = site;
    let pages = Arc::new(Pages { scrapes: Scrapes::new(gather), liveness, readiness, index });
    // HEAD is answered like GET without the body; other methods with 405 and the allowed ones.
    let [health_path, readiness_path] = HEALTH;
    let health = Router::new().route(health_path, get(healthz)).route(readiness_path, get(readyz));
    let all = Router::new()
        .route("/", get(front))
        .route("/metrics", get(metrics))
        .merge(health.clone())
        .fallback(not_found);
    let health = health.fallback(not_about_health);
    (all.with_state(Arc::clone(&pages)), health.with_state(pages))
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

/// Whether the process makes progress. If not, it should be restarted.
async fn healthz(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    if pages.liveness.is_alive().await {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let text = format!("the event loop has not answered for {} s\n", PATIENCE.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Whether there is anything to export, and what is missing.
async fn readyz(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    let Readiness { is_ready, text } = &pages.readiness;
    let status = if *is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text.clone())
}

async fn not_about_health(uri: Uri) -> (StatusCode, String) {
    let text = format!("there is no {} here; there are {}\n", uri.path(), HEALTH.join(" and "));
    (StatusCode::NOT_FOUND, text)
}

async fn not_found(uri: Uri) -> (StatusCode, String) {
    let text =
        format!("there is no {}; the pages are /metrics, /healthz, /readyz and /\n", uri.path());
    (StatusCode::NOT_FOUND, text)
}
