//! Many writes, one transaction, one fsync: whoever waits while the disk works goes with the next group.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{slots, write};
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::store::{Commit, Error, Feed, Slot};

/// How many writes share a transaction at most: bounds what the first of them waits for.
const LARGEST: usize = 256;

/// One write of somebody's.
pub(super) enum Write {
    Commit { commit: Box<Commit>, opening: i64 },
    TakeSlot { slot: Slot, now: Timestamp },
    AnswerSlot { token: Uuid, frees_at: Timestamp },
    SaveFeed { manager: AcsSystemId, feed: Feed },
}

impl Write {
    fn apply(&self, conn: &Connection) -> Result<(), Error> {
        match self {
            Self::Commit { commit, opening } => write::commit(conn, commit, *opening),
            Self::TakeSlot { slot, now } => slots::take(conn, slot, *now),
            Self::AnswerSlot { token, frees_at } => slots::answer(conn, *token, *frees_at),
            Self::SaveFeed { manager, feed } => write::save_feed(conn, *manager, feed),
        }
    }
}

/// Carries out all of `writes` in one transaction. A refused one is undone alone; what is `Ok` is on
/// disk. Should the transaction fail, all of them have.
pub(super) fn carry_out(conn: &Connection, writes: &[Write]) -> Vec<Result<(), Error>> {
    try_carry_out(conn, writes).unwrap_or_else(|error| {
        let source: Arc<dyn std::error::Error + Send + Sync> = match error {
            Error::Database(source) => Arc::from(source),
            error => Arc::new(error),
        };
        let failure = || Err(Error::Database(Box::new(Arc::clone(&source))));
        writes.iter().map(|_| failure()).collect()
    })
}

fn try_carry_out(conn: &Connection, writes: &[Write]) -> Result<Vec<Result<(), Error>>, Error> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        conn.prepare_cached("SAVEPOINT one")?.execute([])?;
        let result = write.apply(conn);
        if let Err(error) = result {
            // A full disk or failed I/O makes SQLite undo the whole transaction by itself.
            if conn.is_autocommit() {
                return Err(error);
            }
            conn.prepare_cached("ROLLBACK TO one")?.execute([])?;
            results.push(Err(error));
        } else {
            results.push(Ok(()));
        }
        conn.prepare_cached("RELEASE one")?.execute([])?;
    }
    transaction.commit()?;
    Ok(results)
}

/// The thread that writes.
pub(super) struct Writer {
    /// `None` once it is told to end.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    write: Write,
    answer: oneshot::Sender<Result<(), Error>>,
}

impl Writer {
    pub(super) fn spawn(conn: Connection, transactions: Arc<AtomicU64>) -> Result<Self, Error> {
        let (jobs, waiting) = channel();
        let thread = Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&conn, &waiting, &transactions))
            .map_err(|error| Error::Database(Box::new(error)))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Queues a write. Its answer comes once it is on disk.
    pub(super) fn send(&self, write: Write) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, answered) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            // A thread that is gone drops the job and with it `answer`, which is how the caller learns.
            jobs.send(Job { write, answer }).ok();
        }
        answered
    }
}

impl Drop for Writer {
    /// Waits until all that is queued is written and the connection is closed.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn run(conn: &Connection, waiting: &Receiver<Job>, transactions: &AtomicU64) {
    while let Ok(first) = waiting.recv() {
        let others = std::iter::from_fn(|| waiting.try_recv().ok());
        let (writes, answers): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(others)
            .take(LARGEST)
            .filter(|job| !job.answer.is_closed())
            .map(|job| (job.write, job.answer))
            .unzip();
        if writes.is_empty() {
            continue;
        }
        transactions.fetch_add(1, Ordering::Relaxed);
        for (answer, result) in answers.into_iter().zip(carry_out(conn, &writes)) {
            // Whoever no longer listens is not told.
            answer.send(result).ok();
        }
    }
}
