//! Filters that change while a daemon runs: what is shown afterwards, and what is logged about the rest.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    daemon::reset_one,
    network::Family,
    owner, socket,
    tracer::{NO_COLLAPSE, REPEAT_AFTER, Tracer, daemon},
    verify::sum,
};

/// Service that fails to connect.
const WEB: &str = "/system.slice/web.service";

const RESET: &str = "reset_by_peer";
const REFUSED: &str = "connect_refused";

/// A daemon with its filters in a file.
struct Changing {
    tracer: Tracer,
    file: String,
}

impl Changing {
    fn start(name: &str, filters: &str, args: &[&str]) -> Result<Self> {
        let file = format!("/run/refilter-{name}.toml");
        write(&file, filters)?;
        let mut command: Command = daemon(args);
        command.env("SOCKTRACE_CONFIG", &file);
        Ok(Self { tracer: Tracer::run(command)?, file })
    }

    /// Changes the filters, and waits until the daemon logs `says`.
    fn change(&mut self, filters: &str, says: &str) -> Result<()> {
        write(&self.file, filters)?;
        self.tracer.signal(Signal::SIGHUP)?;
        let said = self.tracer.wait_for(says)?;
        said.with_context(|| format!("it does not say {says:?}")).map(drop)
    }

    /// Checks what the daemon shows of a reset of this process and a refused connect of the service.
    fn shows(&self, causes: &[&str]) -> Result<()> {
        reset_one()?;
        owner::connect_refused(Family::Ipv6, WEB)?;
        let lines = self.tracer.collect(causes.len());
        let lines = lines.iter().map(|line| serde_json::from_str(line));
        let lines = lines.collect::<Result<Vec<Value>, _>>()?;
        let shown: Vec<_> = lines.iter().map(|line| &line["cause"]).collect();
        ensure!(shown == causes, "{causes:?} are due, not {shown:?}");
        Ok(())
    }
}

fn write(file: &str, filters: &str) -> Result<()> {
    Ok(fs::write(file, format!("output = \"json\"\n{filters}\n"))?)
}

/// Filters evaluated by the daemon change at once, whether they become narrower or wider.
pub(super) fn in_daemon() -> Result<()> {
    let mut daemon = Changing::start("daemon", "", &["--no-metrics"])?;
    daemon.shows(&[RESET, REFUSED])?;
    for (filters, says, causes) in [
        ("unit = 'web'", "filters: --unit web", &[REFUSED][..]),
        ("not-unit = 'w*'", "filters: --not-unit 'w*'", &[RESET]),
        ("errno = 'ECONNREFUSED'", "filters: --errno ECONNREFUSED", &[REFUSED]),
        ("local = '127.0.0.0/8'", "filters: --local 127.0.0.0/8", &[RESET]),
        ("comm = '*'\nnot-cause = 'reset_by_peer'", "filters: --comm '*' --not-cause", &[REFUSED]),
        ("", "changed since the start: nothing", &[RESET, REFUSED]),
    ] {
        daemon.change(filters, says)?;
        daemon.shows(causes).context(filters)?;
    }
    let (status, said) = daemon.tracer.stop(Signal::SIGINT)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.contains("changed since the start: unit\n"), "{said}");
    ensure!(!said.contains("a restart makes") && !said.contains("restart to see them"), "{said}");

    // Service, cause and path filters set at the start can be changed later.
    let filters = "unit = 'web'\nerrno = 'ECONNREFUSED'";
    let mut daemon = Changing::start("learnt", filters, &["--no-metrics"])?;
    daemon.shows(&[REFUSED])?;
    daemon.change("unit = 'web'\nerrno = 'ECONNRESET'", "filters: ")?;
    daemon.shows(&[])?;
    daemon.change("cgroup = '/*'\nerrno = 'ECONNRESET'", "filters: ")?;
    daemon.shows(&[RESET])?;
    // An invalid value changes nothing.
    daemon.change("unit = 'a b'", "the configuration is not changed")?;
    daemon.shows(&[RESET])
}

/// Filters whose events the kernel side still drops after a reload are logged, with a note
/// on what needs a restart.
pub(super) fn in_kernel() -> Result<()> {
    let mut daemon = Changing::start("kernel", "local = '127.0.0.0/8'", &["--no-metrics"])?;
    daemon.shows(&[RESET])?;
    daemon.change("local = '127.0.0.1'\ncause = '!connect_refused'", "filters: ")?;
    daemon.shows(&[RESET])?;
    daemon.change("local = '::1'", "restart to see them: local")?;
    daemon.shows(&[])?;
    daemon.change("pid = 1", "restart to see them: local")?;
    daemon.shows(&[])?;
    daemon.change("local = '127.0.0.0/8'", "changed since the start: nothing")?;
    daemon.shows(&[RESET])?;
    let (status, said) = daemon.tracer.stop(Signal::SIGINT)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.matches("restart to see them").count() == 2, "{said}");
    Ok(())
}

/// A flood of events of a single process passes the filters if the process does.
pub(super) fn of_floods() -> Result<()> {
    const FLOOD: u32 = 400;
    let args = ["--no-metrics", REPEAT_AFTER, "20"];
    let mut daemon = Changing::start("floods", "", &args)?;
    let own = std::process::id();
    let flood = |daemon: &Changing, is_shown: bool| -> Result<()> {
        let listener = socket::listener(Family::Ipv4.loopback(), 1)?;
        for _ in 0..FLOOD {
            socket::Pair::through(&listener)?.reset()?;
        }
        let mut events = 0;
        while is_shown && events < u64::from(FLOOD) {
            let line = daemon.tracer.receive(1);
            let line = line.first().with_context(|| format!("{events} of {FLOOD} shown"))?;
            let line: Value = serde_json::from_str(line)?;
            events += line["repeated"].as_u64().unwrap_or(1);
            ensure!(line["pid"] == own, "{line}");
        }
        let rest = daemon.tracer.collect(0);
        ensure!(rest.is_empty(), "shown besides: {rest:?}");
        Ok(())
    };
    flood(&daemon, true)?;
    daemon.change(&format!("pid = {own}"), "what all events of a flood have in common")?;
    flood(&daemon, true)?;
    daemon.change(&format!("not-pid = {own}"), "what all events of a flood have in common")?;
    flood(&daemon, false)?;
    Ok(())
}

/// Filters that narrow counts are applied in the kernel and do not change without a restart.
pub(super) fn of_counts() -> Result<()> {
    let args = ["--listen", "127.0.0.1:0", "--filter-metrics", NO_COLLAPSE];
    let mut daemon = Changing::start("counts", "local = '127.0.0.1'", &args)?;
    daemon.shows(&[RESET])?;
    daemon.change("local = '::1'", "only after a restart: local")?;
    daemon.shows(&[RESET])?;
    let counted = sum(&daemon.tracer.scrape()?, "socktrace_socket_errors_total{");
    ensure!((counted - 2.0).abs() < 0.5, "{counted} counted of 2");
    Ok(())
}
