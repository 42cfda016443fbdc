//! The server. It has its own thread so that clients cannot delay the stream of failures.

use std::{io, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    http::StatusCode,
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    access::{Access, enforce},
    connections::{Connections, Place},
    delivery::Delivery,
    limits::Limits,
    listener::{Acceptor, ByteStream, Listener},
    site::{Site, routers},
    unix_socket::SocketFile,
    vital,
};

/// Threads for slow work: one scrape and one password hash at a time.
const WORKERS: usize = 2;

/// Pause after a failed accept, when descriptors or memory are short.
const RECOVERY: Duration = Duration::from_secs(1);

/// Sockets to serve.
pub struct Listeners {
    /// Sockets for all pages.
    pub pages: Vec<Listener>,
    /// Sockets for the health pages alone, without TLS and credentials.
    pub health: Vec<Listener>,
}

/// A running server. Dropping it stops the server and removes its UNIX sockets.
pub struct Server {
    _stop: oneshot::Sender<()>,
    _files: Vec<SocketFile>,
}

impl Server {
    /// Serves these sockets.
    ///
    /// # Errors
    /// When the system has no thread or descriptors left.
    pub fn start(listeners: Listeners, access: Access, site: Site) -> anyhow::Result<Self> {
        Self::start_within(Limits::DEFAULT, listeners, access, site)
    }

    pub(super) fn start_within(
        limits: Limits,
        listeners: Listeners,
        access: Access,
        site: Site,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WORKERS)
            .build()
            .context("cannot start the metrics server")?;
        let (acceptors, mut files) = register(&runtime, listeners.pages)?;
        let (health_acceptors, health_files) = register(&runtime, listeners.health)?;
        files.extend(health_files);
        let (pages, health) = routers(site);
        let share = |connections, access, router: Router| {
            let access = Arc::new(access);
            let pages = router.layer(from_fn_with_state(Arc::clone(&access), enforce));
            let pages = TowerToHyperService::new(pages);
            Arc::new(Shared { limits, connections, access, pages })
        };
        // Separate tables, so that metrics clients cannot keep out probes.
        let connections = || Connections::new(limits.connections);
        let shared = share(connections(), access, pages);
        let health = share(connections(), Access::for_everybody()?, health);
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async {
                for acceptor in acceptors {
                    tokio::spawn(accept(acceptor, Arc::clone(&shared)));
                }
                for acceptor in health_acceptors {
                    tokio::spawn(accept(acceptor, Arc::clone(&health)));
                }
                // The message never comes: the channel closes when the server is dropped.
                drop(stopped.await);
            });
            runtime.shutdown_background();
        };
        vital::spawn("metrics", serve).context("cannot start the metrics server")?;
        Ok(Self { _stop: stop, _files: files })
    }
}

fn register(
    runtime: &Runtime,
    listeners: Vec<Listener>,
) -> anyhow::Result<(Vec<Acceptor>, Vec<SocketFile>)> {
    let _context = runtime.enter();
    let mut acceptors = Vec::new();
    let mut files = Vec::new();
    for listener in listeners {
        let (acceptor, file) = Acceptor::new(listener).context("cannot watch for connections")?;
        acceptors.push(acceptor);
        files.extend(file);
    }
    Ok((acceptors, files))
}

/// State shared by connections.
struct Shared {
    limits: Limits,
    connections: Arc<Connections>,
    access: Arc<Access>,
    pages: TowerToHyperService<Router>,
}

async fn accept(acceptor: Acceptor, shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        match acceptor.accept().await {
            Ok(stream) => {
                failing = false;
                let place = shared.connections.place().await;
                let shared = Arc::clone(&shared);
                place.run(|place| shared.serve(stream, place));
            }
            Err(error) if is_of_one_connection(&error) => log::debug!("accept: {error}"),
            // Another attempt would fail at once.
            Err(error) => {
                if !failing {
                    log::warn!("cannot accept connections for metrics: {error}");
                    failing = true;
                }
                sleep(RECOVERY).await;
            }
        }
    }
}

/// Whether the error is that of a queued connection, which `accept(2)` passes on. The next
/// connection may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, PermissionDenied, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
    )
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: Box<dyn ByteStream>, place: Place) {
        let limits = self.limits;
        let stream = match &self.access.rules().tls {
            None => stream,
            Some(tls) => {
                let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
                match timeout(limits.request, handshake).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(error)) => return log::debug!("a client of the metrics: {error}"),
                    Err(_) => return log::debug!("a client of the metrics is slow with TLS"),
                }
            }
        };
        let place = Arc::new(place);
        let answer = hyper::service::service_fn(|request| self.answer(&place, request));
        // The answer is one page shared by many connections, and is not copied.
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request)
            .max_buf_size(limits.head_bytes)
            .max_headers(limits.headers)
            .writev(true)
            .serve_connection(TokioIo::new(Delivery::new(stream, limits.delivery)), answer);
        if let Err(error) = served.await {
            log::debug!("a client of the metrics: {error}");
        }
    }

    async fn answer(
        &self,
        place: &Arc<Place>,
        request: hyper::Request<Incoming>,
    ) -> Result<Response, std::convert::Infallible> {
        let _mark = place.answering();
        timeout(self.limits.answer, self.pages.call(request)).await.unwrap_or_else(|_| {
            Ok((StatusCode::SERVICE_UNAVAILABLE, "the request took too long\n").into_response())
        })
    }
}
