//! Events from the kernel's ring buffer.

use std::{io, time::Duration};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use socktrace_ebpf::NamedEvent;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use super::{maps::take, object::Object};

/// Maximum number of events handed on at once, so that a flood is written out in pieces of bounded
/// size.
const BATCH: usize = 128;

/// Minimum time between two reads of the ring buffer. The first event after a quiet period is
/// handed on at once. Later ones gather meanwhile, so that waking up and writing them out is done
/// once for all. No reader of lines notices the delay, and the buffer has room for it at 400,000
/// events per second.
const GATHER: Duration = Duration::from_millis(10);

/// Consumer's end of the ring buffer.
pub(crate) struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Time of the next read.
    due: Instant,
    /// Records that were not a [`NamedEvent`]; they occur only if the object is from another build.
    undecodable: u64,
    received: u64,
}

impl Events {
    /// Takes the ring buffer out of the loaded object.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        let ring = take::<RingBuf<MapData>>(object, "EVENTS")?;
        // SAFETY: the ring buffer owns its map's descriptor and keeps it as long as it lives.
        let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = registered.context("cannot watch the event ring buffer")?;
        Ok(Self { ring, due: Instant::now(), undecodable: 0, received: 0 })
    }

    /// Waits for events and moves them into the empty `batch`, oldest first: at least one, at most
    /// [`BATCH`]. Cancel safe.
    pub(crate) async fn next(&mut self, batch: &mut Vec<NamedEvent>) -> io::Result<()> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            // The kernel does not wake the reader for events behind one that was not consumed yet.
            sleep_until(self.due).await;
            let more = drain(ready.get_inner_mut(), batch, &mut self.undecodable);
            if !more {
                // Empty: wait until the kernel signals new events.
                ready.clear_ready();
            }
            if !batch.is_empty() {
                let now = Instant::now();
                self.due = if more { now } else { now + GATHER };
                self.received += batch.len() as u64;
                return Ok(());
            }
        }
    }

    /// Moves available events into `batch` without waiting; returns whether there may be more.
    pub(crate) fn drain(&mut self, batch: &mut Vec<NamedEvent>) -> bool {
        let before = batch.len();
        let more = drain(self.ring.get_mut(), batch, &mut self.undecodable);
        self.received += (batch.len() - before) as u64;
        more
    }

    /// Number of events received, shown or not.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Number of records that could not be read.
    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

fn drain(ring: &mut RingBuf<MapData>, batch: &mut Vec<NamedEvent>, undecodable: &mut u64) -> bool {
    while batch.len() < BATCH {
        let Some(record) = ring.next() else {
            return false;
        };
        match NamedEvent::from_bytes(&record) {
            Some(event) => batch.push(event),
            None => *undecodable += 1,
        }
    }
    true
}
