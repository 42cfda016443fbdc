//! Events as they come from the kernel's ring buffer.

use std::{io, time::Duration};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use socktrace_ebpf::NamedEvent;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use super::{maps::take, object::Object};

/// Most events handed on at once, so that a flood is written out in pieces of bounded size.
const BATCH: usize = 128;

/// Shortest time between two looks at the ring buffer. The first event after a quiet time is handed
/// on at once; those that follow gather meanwhile, and waking up and writing them out is done once
/// for all. Nobody who reads a line notices, and the buffer has room for what comes at 400,000
/// events a second.
const GATHER: Duration = Duration::from_millis(10);

/// The consumer's end of the ring buffer.
pub(crate) struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// When to look at it next.
    due: Instant,
    /// Records that were no [`NamedEvent`]; they cannot occur unless the object is of another build.
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

    /// Waits for events and moves them into `batch`, oldest first: at least one, at most
    /// [`BATCH`]; `batch` is empty before. Cancel safe.
    pub(crate) async fn next(&mut self, batch: &mut Vec<NamedEvent>) -> io::Result<()> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            // The kernel wakes nobody for what joins an event that was not taken yet.
            sleep_until(self.due).await;
            let more = drain(ready.get_inner_mut(), batch, &mut self.undecodable);
            if !more {
                // Emptied: wait for the kernel to say that there is something again.
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

    /// Moves what is there now into `batch` without waiting; whether there may be more.
    pub(crate) fn drain(&mut self, batch: &mut Vec<NamedEvent>) -> bool {
        let before = batch.len();
        let more = drain(self.ring.get_mut(), batch, &mut self.undecodable);
        self.received += (batch.len() - before) as u64;
        more
    }

    /// Events that came so far, shown or not.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Records that could not be read.
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
