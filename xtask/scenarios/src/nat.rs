//! Connections with address translation: each end sees different addresses.

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use serde_json::Value;

use super::{
    both_ends,
    network::{Family, Network},
    socket::{self, Ends},
    tcp_reset_has_segment,
    tracer::Tracer,
};

/// Port to which the client connects, without a listener.
const PORT: u16 = 4799;

/// Both ends of a reset connection report the same connection ID, and the same RST numbers.
pub(super) fn reset() -> Result<()> {
    let network = Network::get()?;
    let tracer = Tracer::must_start(&["--output", "json", "--all", "--no-metrics"])?;
    for family in [Family::Ipv4, Family::Ipv6] {
        let listener = network.in_peer(|| socket::listener(family.peer(), 1))?;
        let to = socket::local(&listener)?;
        let translation = network.translate(PORT, to, family.nobody().ip())?;
        let client = socket::stream(family.peer_port(PORT))?;
        client.connect(&family.peer_port(PORT).into())?;
        let (server, _) = listener.accept()?;
        let (ours, theirs) = (Ends::of_client(&client)?, Ends::of_server(&server)?);
        let differ = ours.local.ip() != theirs.remote.ip() && ours.remote != theirs.local;
        ensure!(differ, "nothing was translated: {ours:?}, {theirs:?}");
        socket::exchange(&client, &server)?;
        socket::close_with_reset(server)?;
        socket::ensure_errno("read", socket::read_errno(&client)?, libc::ECONNRESET)?;
        drop(translation);
        let lines = tracer.until_sentinel()?;
        let stream = lines
            .iter()
            .map(|line| serde_json::from_str(line))
            .collect::<Result<Vec<Value>, _>>()?;
        let of = |ends: Ends| {
            let port = ends.local.port();
            let line = stream.iter().find(|line| line["local_port"] == port);
            line.with_context(|| format!("nothing of {ends:?}: {stream:?}"))
        };
        let (failure, sent) = (of(ours)?, of(theirs)?);
        ensure!(failure["cause"] == "reset_by_peer", "{failure}");
        ensure!(both_ends::is_sent(sent) && sent["sent_because"] == "linger_zero", "{sent}");
        let numbers: &[&str] =
            if tcp_reset_has_segment() { &["rst_seq", "rst_ack"] } else { &["rst_seq"] };
        for field in numbers {
            let is_same = failure[*field].is_u64() && failure[*field] == sent[*field];
            ensure!(is_same, "{field} differs: {failure}\nand {sent}");
        }
        let is_same = failure["flow"].is_string() && failure["flow"] == sent["flow"];
        ensure!(is_same, "two names: {failure}\nand {sent}");
    }
    Ok(())
}
