//! A minimal HTTP client.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, bail};

/// Default address of socktrace's metrics.
pub const METRICS: ([u8; 4], u16) = ([127, 0, 0, 1], 10_054);

/// Fetches the metrics page of the daemon at the default address.
///
/// # Errors
///
/// When no daemon answers there.
pub fn get_metrics() -> Result<String> {
    get(METRICS.into(), "/metrics")
}

/// Fetches a page by HTTP.
///
/// # Errors
///
/// When nobody answers, or the answer is not 200.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")?;
    answer(stream, path)
}

/// Posts a body of this media type by HTTP, and returns the answer.
///
/// # Errors
///
/// When nobody answers, or the answer is not 200.
pub fn post(address: SocketAddr, path: &str, kind: &str, body: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    answer(stream, path)
}

fn answer(mut stream: TcpStream, path: &str) -> Result<String> {
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("no HTTP response")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("{path}: {head}\n{body}");
    }
    Ok(body.to_owned())
}
