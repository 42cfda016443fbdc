//! Agent that carries out the host's orders in a guest.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{sys::signal::Signal, unistd};
use xtask_common::{
    cgroup,
    fleet::{ENDED, End, HOST, Order, Role, Word},
};

use super::{
    END,
    network::{self, TWIN_NAMESPACE},
};
use crate::tracer::{PROGRAM, Tracer};

/// Directory of the programs that the host names.
const PROGRAMS: &str = "/usr/local/bin";

/// Lead of the server's clock over the others.
const SKEW: Duration = Duration::from_secs(4);

/// Connection to the host, with one message per line.
type Host = Arc<Mutex<TcpStream>>;

/// Sets this guest up, and serves its host until it orders the end. The arguments are the guest's
/// role, and the ports of the Collector and of its host.
///
/// # Errors
///
/// When the guest cannot be set up, or the host does not answer.
pub fn main(args: &[String]) -> Result<i32> {
    let [role, collector, port] = args else { bail!("which role, and which ports?") };
    let role = [Role::Client, Role::Router, Role::Server].into_iter().find(|it| it.name() == role);
    let role = role.context("client, router or server?")?;
    unistd::sethostname(role.name()).context("cannot set the host name")?;
    // Logs distinguish hosts by it.
    fs::write("/etc/machine-id", format!("{:032x}\n", role as u8 + 1))?;
    network::set_up(role)?;
    if role == Role::Server {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        shell(&format!("date -s @{}", (now + SKEW).as_secs()))?;
    }
    let tracer = match role {
        Role::Router => None,
        Role::Client | Role::Server => {
            let mut socktrace = Command::new(PROGRAM);
            socktrace.args(["--no-stream", "--otlp", &format!("http://{HOST}:{collector}")]);
            Some(Tracer::run(socktrace)?)
        }
    };
    let host = TcpStream::connect(format!("{HOST}:{port}")).context("no host")?;
    let orders = BufReader::new(host.try_clone()?);
    let mut agent = Agent { host: Arc::new(Mutex::new(host)), processes: HashMap::new() };
    say(&agent.host, &Word::Ready(role))?;
    for order in orders.lines() {
        match serde_json::from_str(&order?)? {
            Order::End => break,
            order => agent.carry_out(order)?,
        }
    }
    let said = tracer.map(|tracer| tracer.stop(Signal::SIGTERM)).transpose()?;
    say(&agent.host, &Word::Ended(said.map(|(_, said)| said).unwrap_or_default()))?;
    Ok(0)
}

struct Agent {
    host: Host,
    processes: HashMap<String, Child>,
}

impl Agent {
    /// Carries out an order, and reports the result.
    fn carry_out(&mut self, order: Order) -> Result<()> {
        let result = match order {
            Order::Shell(command) => shell(&command),
            Order::Start(end) => self.start(&end),
            Order::GoOn(name) => self.go_on(&name),
            Order::Kill(name) => self.kill(&name),
            Order::End => Ok(()),
        };
        say(
            &self.host,
            &result.map_or_else(|error| Word::Failed(format!("{error:#}")), |()| Word::Done),
        )
    }

    fn start(&mut self, end: &End) -> Result<()> {
        let program = format!("{PROGRAMS}/{}", end.name);
        // socktrace takes a program by its file name, so another link is another program.
        fs::hard_link("/init", &program).with_context(|| format!("cannot make {program}"))?;
        // Cgroup that systemd would give a service of this name.
        let cgroup = format!("{}/system.slice/{}.service", cgroup::ROOT, end.name);
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot create {cgroup}"))?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("echo 0 > {cgroup}/cgroup.procs && exec \"$@\""), "sh"]);
        if end.is_twin {
            command.args(["ip", "netns", "exec", TWIN_NAMESPACE]);
        }
        command.arg(&program).arg(END).arg(serde_json::to_string(&end.part)?).arg(&end.address);
        if end.is_twin {
            command.arg("twin");
        }
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let (host, name) = (Arc::clone(&self.host), end.name.clone());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if say(&host, &Word::Said(name.clone(), line)).is_err() {
                    return;
                }
            }
            // If the report fails, the host has gone.
            drop(say(&host, &Word::Said(name, ENDED.into())));
        });
        self.processes.insert(end.name.clone(), child);
        Ok(())
    }

    fn process(&mut self, name: &str) -> Result<&mut Child> {
        self.processes.get_mut(name).with_context(|| format!("no process {name}"))
    }

    fn go_on(&mut self, name: &str) -> Result<()> {
        let stdin = self.process(name)?.stdin.as_mut().context("no stdin")?;
        Ok(stdin.write_all(b"go on\n")?)
    }

    fn kill(&mut self, name: &str) -> Result<()> {
        let process = self.process(name)?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }
}

fn shell(command: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", command]).output().context("cannot run sh")?;
    ensure!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn say(host: &Host, word: &Word) -> Result<()> {
    let mut line = serde_json::to_string(word)?;
    line.push('\n');
    let mut host = host.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(host.write_all(line.as_bytes())?)
}
