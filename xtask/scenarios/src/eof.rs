//! Servers that close instead of answering.

use std::{net::Shutdown, thread, time::Duration};

use anyhow::Result;
use socket2::Socket;

use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::{Family, Line, Silence},
    socket::{self, Ends, Pair},
};

/// Longer than a tick of the kernel's clock: events within one tick have no order.
const MOMENT: Duration = Duration::from_millis(20);

/// A server that closes after this time has worked on the question.
const WORK: Duration = Duration::from_millis(700);

/// The server reads the first question and closes.
pub(super) fn at_first_question(family: Family) -> Result<Vec<Expected>> {
    let pair = Pair::new(family.loopback())?;
    ask_in_vain(pair)
}

/// The server answers a question, works on the next, and closes.
pub(super) fn at_later_question(family: Family) -> Result<Vec<Expected>> {
    let pair = Pair::new(family.loopback())?;
    socket::exchange(&pair.client, &pair.server)?;
    ask(pair, WORK).map(|(ends, _)| vec![acked(ends)])
}

/// The same without delay: the client may have said goodbye.
pub(super) fn at_farewell(family: Family) -> Result<Vec<Expected>> {
    let pair = Pair::new(family.loopback())?;
    socket::exchange(&pair.client, &pair.server)?;
    thread::sleep(MOMENT);
    let (ends, _) = ask(pair, Duration::ZERO)?;
    Ok(vec![acked(ends).flags(&["acked", "farewell"]).with("severity", "expected")])
}

fn ask_in_vain(pair: Pair) -> Result<Vec<Expected>> {
    ask(pair, Duration::ZERO).map(|(ends, _)| vec![acked(ends)])
}

/// The client asks, and the server closes after `time`.
fn ask(Pair { client, server }: Pair, time: Duration) -> Result<(Ends, Socket)> {
    let ends = Ends::of_client(&client)?;
    thread::sleep(MOMENT);
    socket::send(&client, b"question")?;
    socket::receive(&server, b"question")?;
    thread::sleep(time);
    drop(server);
    socket::read_end(&client)?;
    Ok((ends, client))
}

/// Expected report of a request that the peer has received.
fn acked(ends: Ends) -> Expected {
    let failure = Expected::failure(Cause::PrematureEof, "read", 0, ends).flags(&["acked"]);
    failure.saying("the peer had the request")
}

/// The client shuts down sending after its question, and the server takes that as the end.
pub(super) fn at_half_close(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::send(&client, b"question")?;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(&client)?;
    socket::receive(&server, b"question")?;
    socket::read_end(&server)?;
    drop(server);
    socket::read_end(&client)?;
    Ok(vec![acked(ends).state("FIN_WAIT2").saying("shutdown of sending")])
}

/// The server closes while the client waits for its greeting.
pub(super) fn instead_of_greeting(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    drop(server);
    socket::read_end(&client)?;
    let failure = Expected::failure(Cause::PrematureEof, "read", 0, ends).flags(&["no_data"]);
    Ok(vec![failure.saying("before either end had sent anything")])
}

/// The server closes an idle connection just before a request arrives.
pub(super) fn before_the_question(family: Family) -> Result<Vec<Expected>> {
    let Line { network, pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    socket::exchange(&client, &server)?;
    thread::sleep(MOMENT);
    // The client's data is still in flight when the server's FIN arrives.
    let cut = network.cut(Silence::DropSent)?;
    socket::send(&client, b"question")?;
    server.shutdown(Shutdown::Write)?;
    socket::read_end(&client)?;
    socket::forget(client)?;
    socket::forget(server)?;
    drop(cut);
    Ok(vec![
        Expected::failure(Cause::PrematureEof, "read", 0, ends)
            .with("unacked_bytes", b"question".len())
            .saying("had closed before the request came: 8 bytes"),
    ])
}

/// A server that only ever receives log lines, and closes.
pub(super) fn of_a_log_collector(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    for _ in 0..4 {
        thread::sleep(MOMENT);
        socket::send(&client, b"line of a log\n")?;
        socket::receive(&server, b"line of a log\n")?;
    }
    thread::sleep(MOMENT);
    drop(server);
    socket::read_end(&client)?;
    Ok(Vec::new())
}

/// An upload that the client ends by shutting down sending, as netcat does: the server received all of it.
pub(super) fn of_an_upload(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let file = vec![7; 64 * 1024];
    socket::send(&client, &file)?;
    client.shutdown(Shutdown::Write)?;
    socket::receive(&server, &file)?;
    socket::read_end(&server)?;
    drop(server);
    socket::read_end(&client)?;
    Ok(Vec::new())
}

/// A server that closes a connection that has been idle for a long time.
pub(super) fn of_a_connection_in_reserve(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    thread::sleep(Duration::from_secs(6));
    drop(server);
    socket::read_end(&client)?;
    Ok(Vec::new())
}

/// The accepting end sends last: data from a server often needs no answer.
pub(super) fn at_servers_word(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    thread::sleep(MOMENT);
    socket::send(&server, b"greeting")?;
    socket::receive(&client, b"greeting")?;
    drop(client);
    socket::read_end(&server)?;
    Ok(Vec::new())
}

/// The server answers, pauses and closes.
pub(super) fn after_the_answer(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    thread::sleep(MOMENT);
    socket::exchange(&client, &server)?;
    thread::sleep(MOMENT);
    drop(server);
    socket::read_end(&client)?;
    Ok(Vec::new())
}
