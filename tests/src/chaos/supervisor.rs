//! Who looks after the nodes: one that has ended by itself is started again, as a service manager does.
//!
//! A node that was taken over ends by itself, and so does one that cannot reach its database when it starts. One that a fault
//! keeps away stays away until the fault is lifted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use belfry_testkit::Server;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};

use super::world::{Book, PATIENCE};

/// How often it is looked whether a node has ended.
const LOOKS: Duration = Duration::from_millis(50);

/// A node, whoever takes care of it at the moment.
pub(super) struct Node(Arc<Mutex<Care>>);

/// A node as it stands.
pub(super) struct Care {
    server: Server,
    number: usize,
    book: Arc<Book>,
    /// A fault keeps it away.
    away: bool,
    /// How often it has ended by itself, by exit code.
    ended: BTreeMap<String, usize>,
}

impl Node {
    pub(super) fn new(server: Server, number: usize, book: Arc<Book>) -> Result<Self> {
        let care = Care {
            server,
            number,
            book,
            away: false,
            ended: BTreeMap::new(),
        };
        care.note_address()?;
        Ok(Self(Arc::new(Mutex::new(care))))
    }

    /// Nobody else does anything to the node meanwhile.
    pub(super) async fn care(&self) -> MutexGuard<'_, Care> {
        self.0.lock().await
    }

    /// Starts it again whenever it has ended by itself, for as long as there is a `Node`.
    pub(super) fn supervise(&self) {
        let care = Arc::downgrade(&self.0);
        let runtime = Handle::current();
        // On a thread of its own: what waits for a start does not move between threads. And no timer of the runtime, which may
        // end first.
        drop(tokio::task::spawn_blocking(move || {
            while let Some(care) = care.upgrade() {
                // What cannot start now is started at the next look.
                runtime.block_on(async { drop(care.lock().await.start_if_ended().await) });
                drop(care);
                std::thread::sleep(LOOKS);
            }
        }));
    }
}

impl Care {
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// How often it has ended by itself, by exit code.
    pub(super) fn ended(&self) -> &BTreeMap<String, usize> {
        &self.ended
    }

    async fn start_if_ended(&mut self) -> Result<()> {
        if self.away {
            return Ok(());
        }
        if let Some(status) = self.server.end()? {
            *self.ended.entry(status.to_string()).or_default() += 1;
            self.start().await?;
        }
        Ok(())
    }

    /// Ends it as a crash does; it stays away.
    pub(super) fn kill9(&mut self) -> Result<()> {
        self.away = true;
        self.server.kill9()
    }

    /// Tells it to end; it stays away.
    pub(super) fn terminate(&mut self) -> Result<()> {
        self.away = true;
        self.unless_ended(Server::terminate)
    }

    /// Waits for its end.
    pub(super) async fn end(&mut self, limit: Duration) -> Result<()> {
        self.server.ended(limit).await.map(drop)
    }

    /// Stops it where it stands.
    pub(super) fn freeze(&mut self) -> Result<()> {
        self.unless_ended(Server::freeze)
    }

    /// Lets it go on.
    pub(super) fn thaw(&mut self) -> Result<()> {
        self.unless_ended(Server::thaw)
    }

    /// The number of a process that has ended may be another's.
    fn unless_ended(&mut self, signal: fn(&Server) -> Result<()>) -> Result<()> {
        match self.server.end()? {
            Some(_) => Ok(()),
            None => signal(&self.server),
        }
    }

    /// Starts it again; from now on it is looked after.
    pub(super) async fn start(&mut self) -> Result<()> {
        self.server.restart().await?;
        self.away = false;
        self.note_address()
    }

    /// Tells senders where it is now.
    fn note_address(&self) -> Result<()> {
        let client = self.server.admin()?.with_timeout(PATIENCE);
        self.book.set(self.number, client);
        Ok(())
    }
}
