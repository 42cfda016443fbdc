//! Servers that close instead of answering.

use std::{thread, time::Duration};

use anyhow::Result;

use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::Family,
    socket::{self, Ends, Pair},
};

/// Longer than the kernel's clock takes for a tick: what happens within one has no order.
const MOMENT: Duration = Duration::from_millis(20);

/// The server reads the first question and closes.
pub(super) fn at_first_question(family: Family) -> Result<Vec<Expected>> {
    let pair = Pair::new(family.loopback())?;
    ask_in_vain(pair)
}

/// The server answers a question, and closes at the next.
pub(super) fn at_later_question(family: Family) -> Result<Vec<Expected>> {
    let pair = Pair::new(family.loopback())?;
    socket::exchange(&pair.client, &pair.server)?;
    ask_in_vain(pair)
}

fn ask_in_vain(Pair { client, server }: Pair) -> Result<Vec<Expected>> {
    let ends = Ends::of_client(&client)?;
    thread::sleep(MOMENT);
    socket::send(&client, b"question")?;
    socket::receive(&server, b"question")?;
    drop(server);
    socket::read_end(&client)?;
    Ok(vec![Expected::failure(Cause::PrematureEof, "read", 0, ends)])
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
