//! Serves `/metrics` and `/healthz` over HTTP.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse},
    routing::get,
};
use tokio::net::TcpListener;

use super::{Exporter, exporter};

const INDEX: &str = "<!doctype html><title>socktrace</title><h1>socktrace</h1>\
    <p>Why TCP sockets fail on this host. <a href=\"/metrics\">/metrics</a> \
    <a href=\"/healthz\">/healthz</a>\n";

/// A bound socket, not yet served.
pub(crate) struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let inner = TcpListener::bind(address).await?;
        let address = inner.local_addr()?;
        Ok(Self { inner, address })
    }

    /// Where it listens; the port is the real one where 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers requests until the runtime ends.
pub(crate) async fn serve(listener: Listener, exporter: Arc<Exporter>) {
    let app = Router::new()
        .route("/", get(async || Html(INDEX)))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .with_state(exporter);
    if let Err(error) = axum::serve(listener.inner, app).await {
        log::error!("the metrics server ended: {error}");
    }
}

async fn metrics(State(exporter): State<Arc<Exporter>>) -> impl IntoResponse {
    exporter.render().map_or_else(
        |error| {
            log::error!("{error:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response()
        },
        |text| ([(CONTENT_TYPE, exporter::CONTENT_TYPE)], text).into_response(),
    )
}
