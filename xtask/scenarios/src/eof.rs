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

/// Longer than the kernel's clock takes for a tick: what happens within one has no order.
const MOMENT: Duration = Duration::from_millis(20);

/// A server that closes after so long has worked on the question.
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

/// The same, at once: the client may have said farewell.
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

/// The client asks, and the server closes after some time.
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

/// The peer had the request.
fn acked(ends: Ends) -> Expected {
    let failure = Expected::failure(Cause::PrematureEof, "read", 0, ends).flags(&["acked"]);
    failure.saying("the peer had the request")
}

/// The client shuts down sending after its question, and the server takes that for the end.
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

/// The server closes where the client waits for its greeting.
pub(super) fn instead_of_greeting(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    drop(server);
    socket::read_end(&client)?;
    let failure = Expected::failure(Cause::PrematureEof, "read", 0, ends).flags(&["no_data"]);
    Ok(vec![failure.saying("before either end had sent anything")])
}

/// The server closes an idle connection just before a request comes.
pub(super) fn before_the_question(family: Family) -> Result<Vec<Expected>> {
    let Line { network, pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    socket::exchange(&client, &server)?;
    thread::sleep(MOMENT);
    // What the client sends is under way when the server's FIN comes.
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

/// A server that only ever takes log lines, and goes.
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

/// An upload that the client ends with a shutdown of sending, as by netcat: all of it was taken.
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

/// A server that closes a connection on which nobody has said a word for long.
pub(super) fn of_a_connection_in_reserve(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    thread::sleep(Duration::from_secs(6));
    drop(server);
    socket::read_end(&client)?;
    Ok(Vec::new())
}

/// The one who accepted asks last: what comes from a server may well stay unanswered.
pub(super) fn at_servers_word(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    thread::sleep(MOMENT);
    socket::send(&server, b"greeting")?;
    socket::receive(&client, b"greeting")?;
    drop(client);
    socket::read_end(&server)?;
    Ok(Vec::new())
}

/// The server answers, rests and closes.
pub(super) fn after_the_answer(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    thread::sleep(MOMENT);
    socket::exchange(&client, &server)?;
    thread::sleep(MOMENT);
    drop(server);
    socket::read_end(&client)?;
    Ok(Vec::new())
}
