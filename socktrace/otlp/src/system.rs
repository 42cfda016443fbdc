//! Connections through this host's resolvers, trying one address after the other.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::endpoint::Endpoint;

/// Time limit for one of several addresses.
const PATIENCE: Duration = Duration::from_secs(3);

/// Maximum number of addresses tried.
const TRIED: usize = 4;

/// A bidirectional byte stream.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Opens connections.
pub(crate) trait Dial: Send + Sync + 'static {
    /// Connects to an endpoint's host and port.
    fn dial(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = io::Result<Box<dyn ByteStream>>> + Send;
}

/// Connects according to this host's configuration.
pub(crate) struct SystemDial;

impl Dial for SystemDial {
    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the collector has no address");
        for address in addresses(&endpoint.host).await? {
            let connected =
                timeout(PATIENCE, TcpStream::connect(SocketAddr::new(address, endpoint.port)));
            match connected.await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(Box::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// The addresses of a host, from `/etc/hosts` and the resolvers in `/etc/resolv.conf`. Both files
/// are read each time, so that changes take effect. The resolver is written in Rust, because the C
/// library's needs shared objects at run time, which a static build may not find.
async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // Works even without a resolver (RFC 6761, section 6.3).
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    let options = builder.options_mut();
    options.cache_size = 0;
    // A name in `/etc/hosts` with an address of one family must not wait for unresponsive resolvers
    // to look up the other family.
    options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
    let resolver = builder.build().map_err(io::Error::other)?;
    let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
    Ok(found.iter().take(TRIED).collect())
}
