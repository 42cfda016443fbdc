//! Three guests, the middle one of which translates addresses, and the host's connection to each.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use socktrace_lab::{
    boot::{Boot, Limits, Outcome, Terminal},
    initramfs::GuestPrograms,
    prepare::{self, BootFiles},
    progress,
    qemu::{Accelerator, Mode},
    workspace,
};
use tempfile::TempDir;
use xtask_common::{
    arch::Arch,
    fleet::{ENDED, End, Order, Part, Role, Word},
};

use crate::cli::FleetArgs;

/// Generous, as three guests at once start slowly under emulation.
const PATIENCE: Duration = Duration::from_mins(6);

const LIMITS: Limits = Limits {
    start: Duration::from_mins(5),
    silence: Duration::from_mins(30),
    total: Duration::from_mins(30),
};

const ROLES: [Role; 3] = [Role::Client, Role::Router, Role::Server];

/// The running guests.
pub(super) struct Fleet {
    pub(super) client: Guest,
    pub(super) router: Guest,
    pub(super) server: Guest,
    boots: Vec<JoinHandle<Result<Outcome>>>,
    /// Directory of the sockets that act as cables between them.
    _sockets: TempDir,
}

impl Fleet {
    /// Boots the guests, and waits until each is ready.
    pub(super) fn boot(args: &FleetArgs, collector: u16) -> Result<Self> {
        let setup = args.no_setup.setup();
        let (programs, files) = prepare::programs_and(Arch::OWN, &setup, true, || {
            prepare::boot_files(args.kernel, Arch::OWN, &setup, &args.mirrors)
        })?;
        let accelerator = prepare::accelerator(&files, &programs)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        // Paths of sockets must be short.
        let sockets = tempfile::tempdir()?;
        let step = progress::step("Booting three guests");
        let boots = ROLES.map(|role| {
            let network = cards(role, sockets.path());
            let command =
                ["guest", "fleet", role.name(), &collector.to_string(), &port.to_string()];
            let command = command.map(str::to_owned).to_vec();
            let (programs, files) = (programs.clone(), files.clone());
            thread::spawn(move || boot(role, &files, &programs, accelerator, &network, command))
        });
        let mut guests = (0..ROLES.len()).map(|_| Guest::meet(&listener, &boots));
        let mut guests = guests.by_ref().collect::<Result<Vec<_>>>()?;
        guests.sort_by_key(|guest| guest.role as u8);
        let [client, router, server] =
            <[Guest; 3]>::try_from(guests).map_err(|_| anyhow!("not three guests"))?;
        step.done("Booted three guests");
        Ok(Self { client, router, server, boots: boots.into(), _sockets: sockets })
    }

    /// Stops the guests, and returns socktrace's output in each.
    pub(super) fn end(self) -> Result<String> {
        let mut said = String::new();
        for mut guest in [self.client, self.router, self.server] {
            guest.send(&Order::End)?;
            let ended = guest.find(|word| match word {
                Word::Ended(said) => Some(said.clone()),
                _ => None,
            })?;
            said.extend([guest.role.name(), ": ", &ended, "\n"]);
        }
        for boot in self.boots {
            let outcome = boot.join().map_err(|_| anyhow!("a boot panicked"))??;
            ensure!(outcome == Outcome::Finished { code: 0 }, "a guest ended with {outcome:?}");
        }
        Ok(said)
    }
}

fn boot(
    role: Role,
    files: &BootFiles,
    programs: &GuestPrograms,
    accelerator: Accelerator,
    network: &[String],
    command: Vec<String>,
) -> Result<Outcome> {
    let logs = workspace::cache("vm-logs");
    fs::create_dir_all(&logs)?;
    Boot {
        files,
        programs,
        peers: None,
        prometheus: None,
        network,
        accelerator,
        mode: Mode::Smp,
        append: "",
        command,
        env: [].into(),
        terminal: Terminal::Logged(logs.join(format!("fleet-{}.log", role.name()))),
        limits: Some(LIMITS),
    }
    .run(drop)
}

/// Network cards of a guest: one that is connected to the host, and one for each cable.
fn cards(role: Role, sockets: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |backend: String, number: usize| {
        let hardware = format!("52:54:00:00:{:02x}:{number:02x}", role as u8);
        arguments.push("-netdev".to_owned());
        arguments.push(format!("{backend},id=net{number}"));
        arguments.push("-device".to_owned());
        arguments.push(format!("virtio-net-pci,netdev=net{number},mac={hardware},romfile="));
    };
    add("user,restrict=off".to_owned(), 0);
    let cable = |name: &str, own: &str, other: &str| {
        let path = |end: &str| sockets.join(format!("{name}-{end}")).display().to_string();
        format!(
            "dgram,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            path(own),
            path(other)
        )
    };
    match role {
        Role::Client => add(cable("client", "outer", "router"), 1),
        Role::Server => add(cable("server", "outer", "router"), 1),
        Role::Router => {
            add(cable("client", "router", "outer"), 1);
            add(cable("server", "router", "outer"), 2);
        }
    }
    arguments
}

/// A guest whose agent has connected.
pub(super) struct Guest {
    role: Role,
    stream: TcpStream,
    words: BufReader<TcpStream>,
    /// Words received that nobody has waited for yet.
    heard: VecDeque<Word>,
}

impl Guest {
    /// Waits for the next agent to connect, as long as all boots are running.
    fn meet(listener: &TcpListener, boots: &[JoinHandle<Result<Outcome>>]) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let start = Instant::now();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            ensure!(
                start.elapsed() < PATIENCE && !boots.iter().any(JoinHandle::is_finished),
                "not all guests come up: see fleet-*.log in {}",
                workspace::cache("vm-logs").display()
            );
            thread::sleep(Duration::from_millis(100));
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let words = BufReader::new(stream.try_clone()?);
        let mut guest = Self { role: Role::Client, stream, words, heard: VecDeque::new() };
        guest.role = guest.find(|word| match word {
            Word::Ready(role) => Some(*role),
            _ => None,
        })?;
        Ok(guest)
    }

    fn send(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        Ok(self.stream.write_all(line.as_bytes())?)
    }

    /// Returns the result of `of` for the first word for which it has one.
    fn find<T>(&mut self, of: impl Fn(&Word) -> Option<T>) -> Result<T> {
        let known = self.heard.iter().enumerate().find_map(|(at, word)| Some((at, of(word)?)));
        if let Some((at, found)) = known {
            self.heard.remove(at);
            return Ok(found);
        }
        loop {
            let mut line = String::new();
            let count = self.words.read_line(&mut line);
            let count = count.with_context(|| {
                format!("the {} does not answer; it said {:?}", self.role.name(), self.heard)
            })?;
            ensure!(count > 0, "the {} is gone; it said {:?}", self.role.name(), self.heard);
            let word: Word = serde_json::from_str(&line)?;
            if let Word::Failed(why) = &word {
                bail!("on the {}: {why}", self.role.name());
            }
            match of(&word) {
                Some(found) => return Ok(found),
                None => self.heard.push_back(word),
            }
        }
    }

    /// Sends an order, and waits until it is carried out.
    fn order(&mut self, order: &Order) -> Result<()> {
        self.send(order)?;
        self.find(|word| (*word == Word::Done).then_some(()))
            .with_context(|| format!("cannot do {order:?}"))
    }

    /// Runs a command in the guest.
    pub(super) fn shell(&mut self, command: &str) -> Result<()> {
        self.order(&Order::Shell(command.into()))
    }

    /// Starts a process in the guest, and waits until it reports `says`.
    pub(super) fn start(
        &mut self,
        name: &str,
        part: Part,
        place: (&str, u16),
        says: &str,
    ) -> Result<()> {
        self.start_at(name, part, place, false, says)
    }

    /// Like [`Self::start`], in the network behind the guest if `is_twin`.
    pub(super) fn start_at(
        &mut self,
        name: &str,
        part: Part,
        place: (&str, u16),
        is_twin: bool,
        says: &str,
    ) -> Result<()> {
        let address = format!("{}:{}", place.0, place.1);
        self.order(&Order::Start(End { name: name.into(), part, address, is_twin }))?;
        self.hears(name, says)
    }

    /// Lets a process continue.
    pub(super) fn go_on(&mut self, name: &str) -> Result<()> {
        self.order(&Order::GoOn(name.into()))
    }

    /// Kills a process.
    pub(super) fn kill(&mut self, name: &str) -> Result<()> {
        self.order(&Order::Kill(name.into()))
    }

    /// Waits until a process reports `says`. Fails if it ends in a different way.
    pub(super) fn hears(&mut self, name: &str, says: &str) -> Result<()> {
        self.find(|word| match word {
            Word::Said(who, what) if who == name => (what == says).then(|| Ok(())).or_else(|| {
                (what == ENDED || what.starts_with("got "))
                    .then(|| Err(anyhow!("{name} {what}, not {says}")))
            }),
            _ => None,
        })?
    }
}
