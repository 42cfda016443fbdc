//! Client for one endpoint, with a persistent connection.

use std::{
    fmt::Write as _,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    credentials::{Credentials, Current},
    endpoint::{Endpoint, Signal},
    status::{Outcome, outcome},
    system::{ByteStream, Dial},
};

/// Maximum number of bytes read from an answer: OTLP answers contain a number and a sentence.
const MOST_OF_ANSWER: usize = 64 << 10;

/// Content of a request.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) body: Bytes,
    pub(crate) is_gzip: bool,
}

/// A client for an endpoint.
pub(crate) struct Client<D> {
    pub(crate) signal: Signal,
    pub(crate) endpoint: Endpoint,
    pub(crate) user_agent: String,
    pub(crate) patience: Duration,
    pub(crate) dial: Arc<D>,
    pub(crate) current: Arc<Current>,
    pub(crate) connection: Option<Connection>,
}

/// A connection, and the credentials it was opened with.
pub(crate) struct Connection {
    credentials: Arc<Credentials>,
    requests: SendRequest<Full<Bytes>>,
}

impl<D: Dial> Client<D> {
    /// Sends a request and waits for the answer, within the time limit of a request.
    pub(crate) async fn send(&mut self, payload: &Payload) -> Outcome {
        // Taken, so that a connection is not reused after a timeout: its answer may still arrive.
        let kept = self.connection.take();
        match timeout(self.patience, self.attempt(kept, payload)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::Later { after: None, why },
            Err(_) => {
                let why = format!("no answer within {:?}", self.patience);
                Outcome::Later { after: None, why }
            }
        }
    }

    async fn attempt(
        &mut self,
        kept: Option<Connection>,
        payload: &Payload,
    ) -> Result<Outcome, String> {
        let credentials = self.current.get();
        if let Some(kept) = kept.filter(|kept| Arc::ptr_eq(&kept.credentials, &credentials)) {
            // The collector may close an idle connection at any time, which is not a failure.
            if let Ok(outcome) = self.exchange(kept, payload).await {
                return Ok(outcome);
            }
        }
        let connection = self.connect(credentials).await?;
        self.exchange(connection, payload).await
    }

    async fn connect(&self, credentials: Arc<Credentials>) -> Result<Connection, String> {
        let endpoint = &self.endpoint;
        let stream = self.dial.dial(endpoint).await;
        let mut stream = stream.map_err(|error| format!("cannot connect: {}", chain(&error)))?;
        if endpoint.is_tls {
            stream = secure(&credentials, endpoint, stream)
                .await
                .map_err(|error| format!("TLS: {}", chain(&error)))?;
        }
        let (requests, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("the connection to a collector: {error}");
            }
        });
        Ok(Connection { credentials, requests })
    }

    async fn exchange(
        &mut self,
        mut connection: Connection,
        payload: &Payload,
    ) -> Result<Outcome, String> {
        let requests = &mut connection.requests;
        requests.ready().await.map_err(|error| chain(&error))?;
        let mut request = Request::post(self.endpoint.path.as_str())
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, &self.user_agent)
            .header(CONTENT_TYPE, "application/x-protobuf");
        if payload.is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        for (name, value) in connection.credentials.headers.iter() {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(payload.body.clone()));
        let request = request.map_err(|error| error.to_string())?;
        let answer = requests.send_request(request).await.map_err(|error| chain(&error))?;
        let (head, body) = answer.into_parts();
        let body = match Limited::new(body, MOST_OF_ANSWER).collect().await {
            Ok(body) => body.to_bytes(),
            // The records have been accepted, whatever follows.
            Err(error) if head.status == StatusCode::OK => {
                log::debug!("the answer of a collector: {error}");
                Bytes::new()
            }
            Err(error) => return Err(error.to_string()),
        };
        let outcome = outcome(self.signal, head.status, &head.headers, &body, SystemTime::now());
        self.connection = Some(connection);
        Ok(outcome)
    }
}

async fn secure(
    credentials: &Credentials,
    endpoint: &Endpoint,
    stream: Box<dyn ByteStream>,
) -> io::Result<Box<dyn ByteStream>> {
    let Some(tls) = &credentials.tls else { return Err(io::Error::other("not set up")) };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Many messages already include that of their cause.
        let behind = error.to_string();
        if !text.contains(&behind) {
            _ = write!(text, ": {behind}");
        }
        source = error.source();
    }
    text
}
