//! Table of open connections, with a limit and a rule for evictions.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, task::AbortHandle, time::Instant};

/// The open connections.
///
/// When the table is full, a new connection evicts the one that has gone longest without a request.
/// Clients that open connections and leave them idle, or read answers slowly, therefore keep nobody
/// out.
pub(super) struct Connections {
    limit: usize,
    table: Mutex<Table>,
    left: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Connection>,
}

struct Connection {
    /// Time at which it was opened, or its last request was answered.
    active: Instant,
    /// Whether a request is being answered. It may then finish, which takes bounded time.
    answering: bool,
    task: Option<AbortHandle>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, table: Mutex::default(), left: Notify::new() })
    }

    /// Waits for a place for a new connection, which is taken from an idle one if necessary.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(id) = self.table().enter(self.limit) {
                return Place { id, connections: Arc::clone(self) };
            }
            self.left.notified().await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code panics while holding this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn enter(&mut self, limit: usize) -> Option<u64> {
        if self.open.len() >= limit {
            let idle = self.open.iter().filter(|(_, connection)| !connection.answering);
            let (&longest, _) = idle.min_by_key(|(_, connection)| connection.active)?;
            if let Some(Connection { task: Some(task), .. }) = self.open.remove(&longest) {
                task.abort();
            }
        }
        let id = self.next;
        self.next += 1;
        let connection = Connection { active: Instant::now(), answering: false, task: None };
        self.open.insert(id, connection);
        Some(id)
    }
}

/// A connection's place in the table, released when dropped.
pub(super) struct Place {
    id: u64,
    connections: Arc<Connections>,
}

impl Place {
    /// Runs the connection's task, which is aborted when its place is given to another.
    pub(super) fn run<F>(self, serve: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (id, connections) = (self.id, Arc::clone(&self.connections));
        let task = tokio::spawn(serve(self)).abort_handle();
        if let Some(connection) = connections.table().open.get_mut(&id) {
            connection.task = Some(task);
        }
    }

    /// Marks the connection as being answered until the mark is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.mark(true);
        Answering(Arc::clone(self))
    }

    fn mark(&self, answering: bool) {
        if let Some(connection) = self.connections.table().open.get_mut(&self.id) {
            connection.answering = answering;
            connection.active = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
        self.connections.left.notify_one();
    }
}

/// Mark of a connection that is being answered.
pub(super) struct Answering(Arc<Place>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.mark(false);
        self.0.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::{
        sync::mpsc::{Receiver, Sender, channel},
        time::{sleep, timeout},
    };

    use super::*;

    /// Runs a connection that stays idle, and sends its number when it ends.
    async fn idle(connections: &Arc<Connections>, number: u32, ended: &Sender<u32>) {
        struct NotifyEnd(u32, Sender<u32>);
        impl Drop for NotifyEnd {
            fn drop(&mut self) {
                self.1.try_send(self.0).expect("room");
            }
        }
        let notify = NotifyEnd(number, ended.clone());
        connections.place().await.run(async move |place| {
            let _kept = (place, notify);
            pending::<()>().await;
        });
        // Gives each one its own time.
        sleep(Duration::from_millis(1)).await;
    }

    async fn next(ended: &mut Receiver<u32>) -> Option<u32> {
        timeout(Duration::from_millis(5), ended.recv()).await.ok().flatten()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_takes_the_longest_idle_ones_place() {
        let connections = Connections::new(3);
        let (sender, mut ended) = channel(16);
        for number in 0..3 {
            idle(&connections, number, &sender).await;
        }
        assert_eq!(next(&mut ended).await, None);
        for number in 3..6 {
            idle(&connections, number, &sender).await;
            assert_eq!(next(&mut ended).await, Some(number - 3));
        }
        assert_eq!(connections.table().open.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_being_answered_stays() {
        let connections = Connections::new(2);
        let busy = Arc::new(connections.place().await);
        let mark = busy.answering();
        let (sender, mut ended) = channel(16);
        idle(&connections, 1, &sender).await;
        idle(&connections, 2, &sender).await;
        assert_eq!(next(&mut ended).await, Some(1));

        let place = Arc::new(connections.place().await);
        assert_eq!(next(&mut ended).await, Some(2));
        let _second = place.answering();
        // All are being answered, so the next one waits until one is done.
        let waiting = connections.place();
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_mins(1), &mut waiting).await.is_err());
        drop(mark);
        timeout(Duration::from_secs(1), waiting).await.expect("a place");
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_makes_room() {
        let connections = Connections::new(1);
        let place = Arc::new(connections.place().await);
        let mark = place.answering();
        let waiting = connections.place();
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        drop((place, mark));
        drop(timeout(Duration::from_secs(1), waiting).await.expect("a place"));
        assert!(connections.table().open.is_empty());
    }
}
