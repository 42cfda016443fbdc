//! Cost with more live sockets, and with more cgroups.

use std::{fs, net::Ipv4Addr};

use anyhow::{Context as _, Result};
use socket2::Socket;
use xtask_common::{
    cgroup,
    figure::{NO_TOOL, Unit},
};

use super::{
    Benchmark,
    cost::{Cost, cost},
    machine, scrape,
    tool::{self, COUNTING, STREAMING},
    workload::{self, Listener},
};

/// Numbers of live sockets, two to a connection.
const SOCKETS: [usize; 3] = [10, 1_000, 100_000];
const FEW_SOCKETS: [usize; 2] = [10, 1_000];

/// Sockets at one address: fewer than an address has ports.
const AT_ONE_ADDRESS: usize = 40_000;

const CGROUPS: [usize; 4] = [10, 100, 1_000, 5_000];
const FEW_CGROUPS: [usize; 1] = [100];

/// Directory of the benchmark's cgroups.
const PARENT: &str = "/sys/fs/cgroup/bench.slice";

/// Measures both kinds of growth.
pub(super) fn measure(bench: &mut Benchmark) -> Result<()> {
    // Starts above the ports of servers, so that the metrics port stays free.
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "16384 65535")
        .context("cannot have that many ports")?;
    sockets(bench)?;
    cgroups(bench)
}

fn sockets(bench: &mut Benchmark) -> Result<()> {
    let counts = if bench.short { &FEW_SOCKETS[..] } else { &SOCKETS };
    for name in [NO_TOOL, STREAMING, COUNTING] {
        let running = tool::named(name)?.start_showing_all(&bench.places)?;
        let mut open = OpenConnections::default();
        for &count in counts {
            open.up_to(count)?;
            machine::settle()?;
            for workload in [workload::ORDERLY, workload::RESET] {
                let Cost { all, .. } = cost(workload::named(workload)?)?;
                let measured = format!("sockets/{count}/{workload}");
                bench.report(&measured, name, Unit::Instructions, all)?;
            }
            if let Some(id) = running.id() {
                let (resident, _) = machine::memory(id)?;
                bench.report(&format!("sockets/{count}/resident"), name, Unit::Bytes, resident)?;
            }
        }
        drop(open);
        running.stop()?;
    }
    Ok(())
}

/// Connections that are kept open.
#[derive(Default)]
struct OpenConnections {
    listeners: Vec<Listener>,
    sockets: Vec<(Socket, Socket)>,
}

impl OpenConnections {
    fn up_to(&mut self, sockets: usize) -> Result<()> {
        while self.sockets.len() * 2 < sockets {
            let index = self.sockets.len() * 2 / AT_ONE_ADDRESS;
            if index == self.listeners.len() {
                let last = u8::try_from(index + 2).context("no more addresses")?;
                self.listeners.push(Listener::at(Ipv4Addr::new(127, 0, 0, last))?);
            }
            self.sockets.push(self.listeners[index].pair()?);
        }
        Ok(())
    }
}

fn cgroups(bench: &mut Benchmark) -> Result<()> {
    let counts = if bench.short { &FEW_CGROUPS[..] } else { &CGROUPS };
    let mut cgroups = Cgroups::new()?;
    for &count in counts {
        cgroups.up_to(count)?;
        for name in [NO_TOOL, STREAMING, COUNTING] {
            let running = tool::named(name)?.start_showing_all(&bench.places)?;
            let mut work = workload::named(workload::RESET)?.start()?;
            machine::settle()?;
            let before = machine::busy()?;
            for number in 0..count {
                cgroup::enter(&cgroup(number))?;
                work()?;
            }
            machine::settle()?;
            let all = (machine::busy()? - before) / u64::try_from(count)?;
            cgroup::enter(&cgroups.home)?;
            bench.report(
                &format!("cgroups/{count}/a reset in each"),
                name,
                Unit::Instructions,
                all,
            )?;
            if let Some(id) = running.id() {
                let (resident, _) = machine::memory(id)?;
                bench.report(&format!("cgroups/{count}/resident"), name, Unit::Bytes, resident)?;
                let start = running.start.elapsed.unwrap_or_default();
                bench.report(&format!("cgroups/{count}/start"), name, Unit::Instructions, start)?;
                if name == COUNTING {
                    scrape::report(bench, &format!("a failure in {count} cgroups"), id)?;
                }
            }
            running.stop()?;
        }
    }
    Ok(())
}

/// The benchmark's cgroups, removed when dropped.
struct Cgroups {
    /// Directory of the cgroup that this process was started in.
    home: String,
    made: usize,
}

impl Cgroups {
    fn new() -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::"));
        let own = own.context("no cgroup2 here")?.trim_end_matches('/');
        fs::create_dir_all(PARENT).with_context(|| format!("cannot create {PARENT}"))?;
        Ok(Self { home: format!("{}{own}", cgroup::ROOT), made: 0 })
    }

    fn up_to(&mut self, count: usize) -> Result<()> {
        while self.made < count {
            fs::create_dir(cgroup(self.made)).context("cannot create a cgroup")?;
            self.made += 1;
        }
        Ok(())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let removed = cgroup::enter(&self.home).and_then(|()| {
            (0..self.made).try_for_each(|number| fs::remove_dir(cgroup(number)))?;
            Ok(fs::remove_dir(PARENT)?)
        });
        if let Err(error) = removed {
            eprintln!("cgroups are left in {PARENT}: {error:#}");
        }
    }
}

fn cgroup(number: usize) -> String {
    format!("{PARENT}/service-{number}.service")
}
