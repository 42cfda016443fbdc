//! The same figures with more live sockets, and with more cgroups.

use std::{fs, net::Ipv4Addr, process};

use anyhow::{Context as _, Result};
use socket2::Socket;
use xtask::figure::{NO_TOOL, Unit};

use super::{
    Bench,
    cost::{Cost, cost},
    machine, scrape,
    subject::{self, COUNTING, STREAMING},
    workload::{self, Listener},
};

/// Live sockets, two to a connection.
const SOCKETS: [usize; 3] = [10, 1_000, 100_000];
const FEW_SOCKETS: [usize; 2] = [10, 1_000];

/// Sockets at one address: fewer than it has ports.
const AT_ONE_ADDRESS: usize = 40_000;

const CGROUPS: [usize; 4] = [10, 100, 1_000, 5_000];
const FEW_CGROUPS: [usize; 1] = [100];

/// Where cgroups are.
const HIERARCHY: &str = "/sys/fs/cgroup";

/// Measures both.
pub(super) fn measure(bench: &mut Bench) -> Result<()> {
    // Above those of servers: the port of the metrics is to stay free.
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "16384 65535")
        .context("cannot have that many ports")?;
    sockets(bench)?;
    cgroups(bench)
}

fn sockets(bench: &mut Bench) -> Result<()> {
    let counts = if bench.short { &FEW_SOCKETS[..] } else { &SOCKETS };
    for name in [NO_TOOL, STREAMING, COUNTING] {
        let running = subject::named(name)?.start(&bench.places)?;
        let mut open = Open::default();
        for &count in counts {
            open.up_to(count)?;
            machine::settle()?;
            for workload in [workload::ORDERLY, workload::RESET] {
                let Cost { all, .. } = cost(workload::named(workload)?)?;
                let measured = format!("sockets/{count}/{workload}");
                bench.tell(&measured, name, Unit::Instructions, all)?;
            }
            if let Some(id) = running.id() {
                let (resident, _) = machine::memory(id)?;
                bench.tell(&format!("sockets/{count}/resident"), name, Unit::Bytes, resident)?;
            }
        }
        drop(open);
        running.stop()?;
    }
    Ok(())
}

/// Connections that stay open.
#[derive(Default)]
struct Open {
    listeners: Vec<Listener>,
    sockets: Vec<(Socket, Socket)>,
}

impl Open {
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

fn cgroups(bench: &mut Bench) -> Result<()> {
    let counts = if bench.short { &FEW_CGROUPS[..] } else { &CGROUPS };
    let parent = format!("{HIERARCHY}/bench.slice");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {parent}"))?;
    let mut made = 0;
    for &count in counts {
        for number in made..count {
            fs::create_dir(cgroup(number)).context("cannot create a cgroup")?;
        }
        made = count;
        for name in [NO_TOOL, STREAMING, COUNTING] {
            let running = subject::named(name)?.start(&bench.places)?;
            let mut work = workload::named(workload::RESET)?.start()?;
            machine::settle()?;
            let before = machine::busy()?;
            for number in 0..count {
                fs::write(cgroup(number) + "/cgroup.procs", process::id().to_string())?;
                work()?;
            }
            machine::settle()?;
            let all = (machine::busy()? - before) / u64::try_from(count)?;
            fs::write(format!("{HIERARCHY}/cgroup.procs"), process::id().to_string())?;
            bench.tell(
                &format!("cgroups/{count}/a reset in each"),
                name,
                Unit::Instructions,
                all,
            )?;
            if let Some(id) = running.id() {
                let (resident, _) = machine::memory(id)?;
                bench.tell(&format!("cgroups/{count}/resident"), name, Unit::Bytes, resident)?;
                let start = running.start.elapsed.unwrap_or_default();
                bench.tell(&format!("cgroups/{count}/start"), name, Unit::Instructions, start)?;
                if name == COUNTING {
                    scrape::tell(bench, &format!("a failure in {count} cgroups"), id)?;
                }
            }
            running.stop()?;
        }
    }
    Ok(())
}

fn cgroup(number: usize) -> String {
    format!("{HIERARCHY}/bench.slice/service-{number}.service")
}
