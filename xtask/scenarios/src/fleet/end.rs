//! One end of a connection, in its own process.

use std::{
    io::{self, BufRead as _, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use socket2::{Domain, Socket, TcpKeepalive, Type};
use xtask_common::fleet::{Part, TWIN, TWIN_PORT};

const REQUEST: &[u8] = b"request";
const ANSWER: &[u8] = b"answer";

/// Interval between writes of a client whose peer has closed.
const PAUSE: Duration = Duration::from_millis(200);

/// Keepalive idle time, and interval between probes.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Plays the part named by the arguments.
///
/// # Errors
///
/// When anything happens that the part does not provide for.
pub fn main(args: &[String]) -> Result<i32> {
    let [part, address, rest @ ..] = args else { bail!("which part, and where?") };
    let part: Part = serde_json::from_str(part)?;
    let address: SocketAddr = address.parse()?;
    let from_twin = rest.first().is_some_and(|word| word == "twin");
    match part {
        Part::Ask | Part::Wait | Part::AskTooLate | Part::Keepalive | Part::AskAgain => {
            client(part, address, from_twin)
        }
        _ => server(part, address),
    }?;
    Ok(0)
}

fn client(part: Part, address: SocketAddr, from_twin: bool) -> Result<()> {
    let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if from_twin {
        socket.bind(&format!("{TWIN}:{TWIN_PORT}").parse::<SocketAddr>()?.into())?;
    }
    if let Err(error) = socket.connect(&address.into()) {
        got(&error);
        return Ok(());
    }
    if part == Part::Keepalive {
        let often = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket.set_tcp_keepalive(&often.with_retries(2))?;
    }
    if part != Part::Wait {
        socket.write_all(REQUEST)?;
    }
    if part == Part::AskAgain {
        socket.read_exact(&mut [0; ANSWER.len()])?;
    }
    say("connected");
    match part {
        Part::AskAgain => {
            until_reported()?;
            socket.write_all(REQUEST)?;
            read_on(&mut socket);
        }
        Part::AskTooLate => {
            let count = socket.read(&mut [0; 16])?;
            if count != 0 {
                bail!("{count} bytes instead of the end");
            }
            loop {
                if let Err(error) = socket.write_all(REQUEST) {
                    got(&error);
                    break;
                }
                thread::sleep(PAUSE);
            }
        }
        _ => read_on(&mut socket),
    }
    Ok(())
}

fn server(part: Part, address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    say("listening");
    if part == Part::StopListening {
        until_reported()?;
        drop(listener);
        say("stopped");
        return Ok(());
    }
    let (stream, _) = listener.accept()?;
    let mut socket = Socket::from(stream);
    match part {
        Part::CloseUnread | Part::Hold => {
            socket.peek(&mut [std::mem::MaybeUninit::uninit(); REQUEST.len()])?;
        }
        _ => socket.read_exact(&mut [0; REQUEST.len()])?,
    }
    match part {
        Part::Abort => socket.set_linger(Some(Duration::ZERO))?,
        Part::Hold => {
            say("holding");
            // The process is killed here.
            until_reported()?;
        }
        Part::Serve => {
            say("serving");
            read_on(&mut socket);
        }
        Part::Push => {
            socket.write_all(ANSWER)?;
            until_reported()?;
            socket.write_all(ANSWER)?;
            read_on(&mut socket);
        }
        _ => {}
    }
    Ok(())
}

/// Reads until a read fails, and reports the error.
fn read_on(socket: &mut Socket) {
    let mut buffer = [0; 64];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return say("got the end"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return got(&error),
        }
    }
}

fn got(error: &io::Error) {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    say(&format!("got {errno:?}"));
}

fn say(word: &str) {
    println!("{word}");
}

/// Waits for a line.
fn until_reported() -> Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read stdin")?;
    if line.is_empty() {
        bail!("nobody is left to say something");
    }
    Ok(())
}
