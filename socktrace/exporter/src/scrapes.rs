//! Scrapes, one at a time, each shared by all clients that requested it before it began.

use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Bytes;
use prometheus::proto::MetricFamily;
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

use super::page::Wanted;

/// Reads the current metrics.
pub type Gather = dyn Fn() -> anyhow::Result<Vec<MetricFamily>> + Send + Sync;

/// Source of metrics pages.
///
/// Reading the kernel's maps takes time. However many clients ask, only one scrape runs at a time,
/// and each client gets metrics newer than its request.
pub(super) struct Scrapes {
    gather: Arc<Gather>,
    last: Arc<Mutex<Option<Scrape>>>,
}

/// Gathered metrics, and the pages encoded from them.
struct Scrape {
    began: Instant,
    families: Vec<MetricFamily>,
    pages: Vec<(Wanted, Bytes)>,
}

impl Scrapes {
    pub(super) fn new(gather: Arc<Gather>) -> Self {
        Self { gather, last: Arc::default() }
    }

    /// A page of metrics that were gathered after this call.
    pub(super) async fn page(&self, wanted: Wanted) -> anyhow::Result<Bytes> {
        let asked = Instant::now();
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let gather = Arc::clone(&self.gather);
        // The lock moves into the task. If this client goes away, the scrape continues and no other
        // can start meanwhile.
        let work = spawn_blocking(move || {
            let scrape = match last.take().filter(|scrape| scrape.began >= asked) {
                Some(scrape) => scrape,
                None => Scrape::new(&*gather)?,
            };
            last.insert(scrape).page(wanted)
        });
        work.await.context("the scrape broke off")?
    }
}

impl Scrape {
    fn new(gather: &Gather) -> anyhow::Result<Self> {
        let began = Instant::now();
        Ok(Self { began, families: gather()?, pages: Vec::new() })
    }

    fn page(&mut self, wanted: Wanted) -> anyhow::Result<Bytes> {
        if let Some((_, page)) = self.pages.iter().find(|(made, _)| *made == wanted) {
            return Ok(page.clone());
        }
        let page = wanted.encode(&self.families)?;
        self.pages.push((wanted, page.clone()));
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
        time::Duration,
    };

    use anyhow::bail;
    use tokio::{task::JoinSet, time::timeout};

    use super::*;
    use crate::format::Format;

    const TEXT: Wanted = Wanted { format: Format::Text, gzip: false };
    const ZIPPED: Wanted = Wanted { format: Format::OpenMetrics, gzip: true };

    #[derive(Default)]
    struct Counts {
        made: AtomicU32,
        running: AtomicU32,
        most_at_a_time: AtomicU32,
    }

    /// Scrapes that are counted and take some time.
    fn counted() -> (Arc<Scrapes>, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        let gather = move || {
            let running = counting.running.fetch_add(1, Ordering::SeqCst) + 1;
            counting.most_at_a_time.fetch_max(running, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(50));
            counting.running.fetch_sub(1, Ordering::SeqCst);
            counting.made.fetch_add(1, Ordering::SeqCst);
            Ok(Vec::new())
        };
        (Arc::new(Scrapes::new(Arc::new(gather))), counts)
    }

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_next_one() {
        let (scrapes, counts) = counted();
        let mut clients = JoinSet::new();
        for number in 0..100 {
            let scrapes = Arc::clone(&scrapes);
            let wanted = if number % 2 == 0 { TEXT } else { ZIPPED };
            clients.spawn(async move { scrapes.page(wanted).await.expect("a page") });
        }
        clients.join_all().await;
        // One for the first client; all others asked before the second began.
        assert!(counts.made.load(Ordering::SeqCst) <= 2, "{:?}", counts.made);
    }

    #[tokio::test]
    async fn nobody_gets_what_was_read_before() {
        let (scrapes, counts) = counted();
        for number in 1..=3 {
            scrapes.page(TEXT).await.expect("a page");
            assert_eq!(counts.made.load(Ordering::SeqCst), number);
        }
    }

    #[tokio::test]
    async fn clients_that_go_leave_no_scrape_beside_the_next() {
        let (scrapes, counts) = counted();
        for _ in 0..20 {
            assert!(timeout(Duration::from_millis(1), scrapes.page(TEXT)).await.is_err());
        }
        scrapes.page(TEXT).await.expect("a page");
        assert_eq!(counts.most_at_a_time.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn after_a_failure_the_next_is_tried() {
        let failed = AtomicU32::new(0);
        let gather = move || match failed.fetch_add(1, Ordering::SeqCst) {
            0 => bail!("no map"),
            1 => panic!("a bug"),
            _ => Ok(Vec::new()),
        };
        let scrapes = Scrapes::new(Arc::new(gather));
        let error = scrapes.page(TEXT).await.expect_err("fails");
        assert_eq!(error.to_string(), "no map");
        let error = scrapes.page(TEXT).await.expect_err("panics");
        assert_eq!(error.to_string(), "the scrape broke off");
        scrapes.page(TEXT).await.expect("works");
    }
}
