//! Names of remote addresses, from this host's resolvers: DNS and `/etc/hosts`.
//!
//! The stream does not wait for names: a line shows the address alone if its name is not found in
//! time, and the next line about this address may have it. The resolver is written in Rust, because
//! the C library's needs its shared objects at run time, which a static build may not find.

use std::{
    collections::HashSet,
    fs,
    future::Future,
    net::IpAddr,
    num::NonZeroUsize,
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hickory_resolver::{TokioResolver, proto::rr::RData};
use lru::LruCache;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{timeout, timeout_at},
};

use crate::record::Record;

/// Maximum number of names kept.
const KEPT: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Maximum number of look-ups at once. Other addresses get no name for now.
const ASKED_AT_ONCE: usize = 64;

/// Time that a name, and the lack of a name, stays valid.
const NAME_AGE: Duration = Duration::from_mins(10);
const NO_NAME_AGE: Duration = Duration::from_mins(1);

/// Time that lines wait for names looked up for the first time: more than a nearby resolver
/// needs, and less than a person watching notices.
const PATIENCE: Duration = Duration::from_millis(100);

/// Maximum number of lines that wait. Larger groups do not wait, because in a flood the ring buffer
/// must be emptied; it has room for a hundred times as many.
const FEW: usize = 16;

/// Timeout of a look-up; the stream does not wait that long.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Maximum length of a domain name in text (RFC 1035); a longer name is ignored.
const LONGEST: usize = 253;

/// A resolver.
pub(crate) trait Lookup: Clone + Send + Sync + 'static {
    /// Returns the name of an address, if it has one.
    fn name(&self, address: IpAddr) -> impl Future<Output = Option<String>> + Send;
}

/// Files that configure the resolvers.
const CONFIGURATION: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The resolvers that this host is configured to use, following changes of the configuration.
#[derive(Clone)]
pub(crate) struct SystemResolver(Arc<Mutex<Current>>);

struct Current {
    resolver: Arc<TokioResolver>,
    /// State of the configuration files when they were read.
    stamps: [Option<Stamp>; 2],
}

/// Identity of a version of a file: device, inode, size, and time of the last change.
type Stamp = [u64; 5];

fn stamps() -> [Option<Stamp>; 2] {
    CONFIGURATION.map(|path| {
        let data = fs::metadata(path).ok()?;
        let changed = [data.ctime(), data.ctime_nsec()].map(i64::cast_unsigned);
        Some([data.dev(), data.ino(), data.size(), changed[0], changed[1]])
    })
}

impl SystemResolver {
    /// Reads `/etc/resolv.conf` and `/etc/hosts`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn new() -> anyhow::Result<Self> {
        // Taken before the files are read, so that a change in between is noticed.
        let stamps = stamps();
        let resolver = Self::resolver()?;
        Ok(Self(Arc::new(Mutex::new(Current { resolver, stamps }))))
    }

    fn resolver() -> anyhow::Result<Arc<TokioResolver>> {
        let mut builder = TokioResolver::builder_tokio()
            .context("cannot read /etc/resolv.conf, which --resolve needs")?;
        // `RemoteNames` keeps the names.
        builder.options_mut().cache_size = 0;
        let resolver = builder.build().context("cannot set up the resolver for --resolve")?;
        Ok(Arc::new(resolver))
    }

    /// Resolver for the current configuration; the previous one while the files cannot be used.
    fn current(&self) -> Arc<TokioResolver> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps();
        if now != current.stamps {
            current.stamps = now;
            match Self::resolver() {
                Ok(resolver) => current.resolver = resolver,
                Err(error) => log::warn!("{error:#}; the previous resolvers stay in use"),
            }
        }
        Arc::clone(&current.resolver)
    }
}

impl Lookup for SystemResolver {
    async fn name(&self, address: IpAddr) -> Option<String> {
        let found = self.current().reverse_lookup(address).await;
        let found = found.inspect_err(|error| log::debug!("{address} has no name: {error}"));
        found.ok()?.answers().iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.0.to_ascii()),
            _ => None,
        })
    }
}

/// Names that are known or being looked up.
pub(crate) struct RemoteNames<L = SystemResolver> {
    lookup: L,
    known: LruCache<IpAddr, Known>,
    asked: HashSet<IpAddr>,
    answers: (Sender<Answer>, Receiver<Answer>),
}

type Answer = (IpAddr, Option<Arc<str>>);

/// An answer, and when it came.
struct Known {
    name: Option<Arc<str>>,
    at: Instant,
}

impl Known {
    fn is_due(&self) -> bool {
        self.at.elapsed() >= if self.name.is_some() { NAME_AGE } else { NO_NAME_AGE }
    }
}

impl RemoteNames {
    /// Names from this host's resolvers.
    ///
    /// # Errors
    /// When the configuration of the resolvers cannot be read.
    pub(crate) fn of_this_host() -> anyhow::Result<Self> {
        Ok(Self::new(SystemResolver::new()?))
    }
}

impl<L: Lookup> RemoteNames<L> {
    fn new(lookup: L) -> Self {
        let known = LruCache::new(KEPT);
        Self { lookup, known, asked: HashSet::new(), answers: channel(ASKED_AT_ONCE) }
    }

    /// Names the remote ends whose names are found in time.
    pub(crate) async fn name(&mut self, records: &mut [Record]) {
        while let Ok(answer) = self.answers.1.try_recv() {
            self.keep(answer);
        }
        let mut new = HashSet::new();
        for address in records.iter().filter_map(remote) {
            if self.ask(address) {
                new.insert(address);
            }
        }
        if records.len() <= FEW {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while !new.is_empty() {
                // The sender is kept here too, so the channel is never closed.
                let Ok(Some(answer)) = timeout_at(deadline, self.answers.1.recv()).await else {
                    break;
                };
                new.remove(&answer.0);
                self.keep(answer);
            }
        }
        for record in records {
            let known = remote(record).and_then(|address| self.known.get(&address));
            record.remote_name = known.and_then(|known| known.name.clone());
        }
    }

    /// Looks up a name, unless it is known or being looked up, or too many look-ups are under way.
    /// Returns whether it is the first look-up.
    fn ask(&mut self, address: IpAddr) -> bool {
        let known = self.known.get(&address);
        if known.is_some_and(|known| !known.is_due())
            || self.asked.contains(&address)
            || self.asked.len() == ASKED_AT_ONCE
        {
            return false;
        }
        let is_new = known.is_none();
        self.asked.insert(address);
        let (lookup, answers) = (self.lookup.clone(), self.answers.0.clone());
        tokio::spawn(async move {
            let name = timeout(ANSWER_PATIENCE, lookup.name(address)).await.ok().flatten();
            let name = name.as_deref().and_then(plain).map(Arc::from);
            // Nobody receives any more once socktrace ends.
            drop(answers.send((address, name)).await);
        });
        is_new
    }

    fn keep(&mut self, (address, name): Answer) {
        self.asked.remove(&address);
        self.known.put(address, Known { name, at: Instant::now() });
    }
}

/// Address of the other end, if it may have a name: an address of this host needs none.
fn remote(record: &Record) -> Option<IpAddr> {
    let address = record.remote.ip();
    let is_named = !address.is_unspecified() && !address.to_canonical().is_loopback();
    is_named.then_some(address)
}

/// Returns a name without its final dot, if it is a plain one. Whoever answers for an address may
/// send anything, so control characters and text that looks like an address are rejected.
fn plain(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.parse::<IpAddr>().is_err();
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use socktrace_ebpf::Address;

    use super::*;
    use crate::record::tests::{record, reset_event};

    /// Answers for some addresses, and never for others.
    #[derive(Clone, Default)]
    struct Book {
        asked: Arc<AtomicUsize>,
    }

    impl Lookup for Book {
        async fn name(&self, address: IpAddr) -> Option<String> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match address.to_string().as_str() {
                "10.0.0.1" => Some("db1.example.com.".to_owned()),
                "10.0.0.2" => None,
                "10.0.0.3" => Some("a\x1b[2Jb".to_owned()),
                _ => pending().await,
            }
        }
    }

    fn from(address: [u8; 4]) -> Record {
        let mut event = reset_event();
        event.remote = Address::ipv4(address);
        record(event)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime").block_on(test)
    }

    #[test]
    fn names_are_returned_at_once_and_looked_up_once() {
        run(async {
            let book = Book::default();
            let mut names = RemoteNames::new(book.clone());
            for _ in 0..3 {
                let mut records = [from([10, 0, 0, 1]), from([10, 0, 0, 2]), from([10, 0, 0, 3])];
                names.name(&mut records).await;
                let reported = records.each_ref().map(|record| record.remote_name.as_deref());
                assert_eq!(reported, [Some("db1.example.com"), None, None]);
            }
            assert_eq!(book.asked.load(Ordering::Relaxed), 3);
        });
    }

    #[test]
    fn nobody_is_asked_for_this_host() {
        run(async {
            let book = Book::default();
            let mut mapped = from([127, 0, 0, 1]);
            mapped.remote.set_ip("::ffff:127.0.0.1".parse().expect("an address"));
            let mut records = [from([127, 0, 0, 1]), mapped];
            RemoteNames::new(book.clone()).name(&mut records).await;
            assert_eq!(book.asked.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn a_silent_resolver_holds_lines_up_once() {
        run(async {
            let mut names = RemoteNames::new(Book::default());
            let mut records = [from([10, 9, 0, 1])];
            let begin = Instant::now();
            names.name(&mut records).await;
            assert!(begin.elapsed() >= PATIENCE && records[0].remote_name.is_none());
            let again = RemoteNames::name(&mut names, &mut records);
            // Polled once: it does not wait.
            assert!(timeout(Duration::ZERO, again).await.is_ok());
        });
    }

    #[test]
    fn a_flood_neither_waits_nor_asks_without_bound() {
        run(async {
            let book = Book::default();
            let mut names = RemoteNames::new(book.clone());
            let mut records: Vec<_> = (0..200).map(|last| from([10, 9, 0, last])).collect();
            assert!(timeout(Duration::ZERO, names.name(&mut records)).await.is_ok());
            // Each turn of the runtime runs some of its tasks.
            while book.asked.load(Ordering::Relaxed) < ASKED_AT_ONCE {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(book.asked.load(Ordering::Relaxed), ASKED_AT_ONCE);
        });
    }

    #[test]
    fn what_is_no_name_is_not_shown() {
        assert_eq!(plain("db1.example.com."), Some("db1.example.com"));
        assert_eq!(plain("_srv.example"), Some("_srv.example"));
        for bad in ["", ".", "a b", "a\x1b[2J", "10.0.0.9", "10.0.0.9.", &"a".repeat(254)] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
    }
}
