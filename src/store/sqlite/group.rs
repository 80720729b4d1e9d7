//! Many writes, one transaction, one fsync: whoever waits while the disk works goes with the next group.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::open::{LITTLE, MUCH};
use super::{feeds, files, head, holds, outbox, sessions, slots, write};
use crate::store::Error;
use crate::store::write::Write;

/// How many writes share a transaction at most: bounds what the first of them waits for.
const LARGEST: usize = 512;

/// After a group of so many writes the next ones have more room, until nobody has written for so long.
const MANY: usize = 32;
const QUIET: Duration = Duration::from_secs(1);

/// A write, and the opening that its claims bear.
pub(super) struct Order {
    pub(super) write: Write,
    pub(super) opening: i64,
}

impl Order {
    fn apply(&self, conn: &Connection) -> Result<(), Error> {
        let opening = self.opening;
        match &self.write {
            Write::Commit { commits } => commits
                .iter()
                .try_for_each(|commit| write::commit(conn, commit, opening)),
            Write::TakeSlots { slots, answered } => {
                for (token, frees_at) in answered {
                    slots::answer(conn, *token, *frees_at)?;
                }
                slots.iter().try_for_each(|slot| slots::take(conn, slot))
            }
            Write::WindowEpoch { boot, epoch, now } => slots::begin(conn, *boot, *epoch, *now),
            Write::SaveFeed {
                manager,
                feed,
                seen,
                kept_since,
            } => feeds::save(conn, *manager, feed, seen, *kept_since),
            Write::Prune { before } => {
                outbox::prune(conn, *before)?;
                sessions::prune(conn, *before)
            }
            Write::CreateWebhook { webhook, since } => outbox::create(conn, webhook, *since),
            Write::UpdateWebhook { id, event_types } => {
                outbox::update(conn, *id, event_types.as_ref())
            }
            Write::DeleteWebhook { id } => outbox::delete(conn, *id),
            Write::ClaimDeliveries { claim } => outbox::claim(conn, *claim, opening),
            Write::SettleDelivery { settled } => outbox::settle(conn, *settled),
            Write::CreateSession { session } => sessions::create(conn, session),
            Write::ChangeSession { id, change } => sessions::change(conn, *id, *change),
            Write::DeleteSession { id, now } => sessions::delete(conn, *id, *now),
            Write::SaveStock { manager, stock } => feeds::save_stock(conn, *manager, stock),
            Write::NoteBatch { batch } => files::note(conn, batch, batch.old()),
            Write::ForgetFile { file } => files::forget(conn, *file),
            Write::Hold { hold } => holds::put(conn, hold),
            Write::Regress { at, cause } => head::regress(conn, *at, cause),
            Write::Release { scope, reasons } => holds::remove(conn, scope, reasons),
        }
    }
}

/// Carries out all of `writes` in one transaction. A refused one is undone alone; what is `Ok` is on
/// disk. Should the transaction fail, all of them have.
pub(super) fn carry_out(conn: &Connection, writes: &[Order]) -> Vec<Result<(), Error>> {
    try_carry_out(conn, writes).unwrap_or_else(|error| {
        let source: Arc<dyn std::error::Error + Send + Sync> =
            if let Error::Database(source) = error {
                Arc::from(source)
            } else {
                Arc::new(error)
            };
        let failure = || Err(Error::Database(Box::new(Arc::clone(&source))));
        writes.iter().map(|_| failure()).collect()
    })
}

fn try_carry_out(conn: &Connection, writes: &[Order]) -> Result<Vec<Result<(), Error>>, Error> {
    match (all(conn, writes)?, writes) {
        (Ok(()), _) => Ok(writes.iter().map(|_| Ok(())).collect()),
        (Err(refused), [_]) => Ok(vec![Err(refused)]),
        (Err(_), _) => one_by_one(conn, writes),
    }
}

/// Most groups have nothing that is refused, and a savepoint for each write would copy each page that it changes.
fn all(conn: &Connection, writes: &[Order]) -> Result<Result<(), Error>, Error> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    for write in writes {
        if let Err(refused) = write.apply(conn) {
            undone(conn, transaction)?;
            return Ok(Err(refused));
        }
    }
    head::count(conn)?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// A full disk or failed I/O may have made `SQLite` undo the whole by itself.
fn undone(conn: &Connection, transaction: Transaction<'_>) -> Result<(), Error> {
    if conn.is_autocommit() {
        return Ok(());
    }
    Ok(transaction.rollback()?)
}

fn one_by_one(conn: &Connection, writes: &[Order]) -> Result<Vec<Result<(), Error>>, Error> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        conn.prepare_cached("SAVEPOINT one")?.execute([])?;
        let result = write.apply(conn);
        if let Err(error) = result {
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
    head::count(conn)?;
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
    order: Order,
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
    pub(super) fn send(&self, order: Order) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, answered) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            // A thread that is gone drops the job and with it `answer`, which is how the caller learns.
            jobs.send(Job { order, answer }).ok();
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
    let mut busy = false;
    while let Some(first) = next(conn, waiting, &mut busy) {
        let others = std::iter::from_fn(|| waiting.try_recv().ok());
        let (writes, answers): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(others)
            .take(LARGEST)
            .filter(|job| !job.answer.is_closed())
            .map(|job| (job.order, job.answer))
            .unzip();
        if writes.is_empty() {
            continue;
        }
        if writes.len() >= MANY && !busy {
            busy = true;
            // Without it, it takes longer.
            MUCH.give(conn).ok();
        }
        transactions.fetch_add(1, Ordering::Relaxed);
        for (answer, result) in answers.into_iter().zip(carry_out(conn, &writes)) {
            // Whoever no longer listens is not told.
            answer.send(result).ok();
        }
    }
}

/// Waits for a write; `None`: there will be none.
fn next(conn: &Connection, waiting: &Receiver<Job>, busy: &mut bool) -> Option<Job> {
    if *busy {
        match waiting.recv_timeout(QUIET) {
            Ok(job) => return Some(job),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                *busy = false;
                // Memory that stays is used again.
                LITTLE.give(conn).ok();
            }
        }
    }
    waiting.recv().ok()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::core::ids::Timestamp;
    use crate::store::sqlite::open;
    use crate::store::{Slot, Window};

    fn slot(token: u128, key: &str) -> Order {
        let write = Write::TakeSlots {
            slots: vec![Slot {
                token: Uuid::from_u128(token),
                windows: vec![Window {
                    key: key.to_owned(),
                    limit: 1,
                }],
                at: Timestamp(0),
                frees_at: Timestamp(9),
            }],
            answered: Vec::new(),
        };
        Order { write, opening: 1 }
    }

    fn slots(conn: &Connection) -> i64 {
        let sql = "SELECT count(*) FROM slots";
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_refused_is_undone_alone() {
        let conn = open::in_memory().unwrap();
        let results = carry_out(&conn, &[slot(1, "a"), slot(2, "a"), slot(3, "b")]);
        let accepted: Vec<_> = results.iter().map(Result::is_ok).collect();
        assert_eq!(accepted, [true, false, true]);
        assert_eq!(slots(&conn), 2);
        assert_eq!(head::get(&conn).unwrap().commits, 1, "one transaction");
    }

    #[test]
    fn a_failed_commit_fails_all() {
        let conn = open::in_memory().unwrap();
        conn.commit_hook(Some(|| true)).unwrap();
        let results = carry_out(&conn, &[slot(1, "a"), slot(2, "a"), slot(3, "b")]);
        assert_eq!(results.len(), 3);
        for result in results {
            assert!(matches!(result, Err(Error::Database(_))), "{result:?}");
        }
        conn.commit_hook(None::<fn() -> bool>).unwrap();
        assert_eq!(slots(&conn), 0);
        assert!(carry_out(&conn, &[slot(4, "a")])[0].is_ok(), "it goes on");
    }

    #[test]
    fn a_full_disk_loses_nothing_that_was_acknowledged() {
        let conn = open::in_memory().unwrap();
        assert!(carry_out(&conn, &[slot(1, "a")])[0].is_ok());
        let pages: i64 = conn
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
        let large = "b".repeat(100_000);
        let results = carry_out(&conn, &[slot(2, "c"), slot(3, &large), slot(4, "d")]);
        assert!(matches!(results[1], Err(Error::Database(_))));
        let accepted = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(slots(&conn), 1 + i64::try_from(accepted).unwrap());
        assert!(carry_out(&conn, &[slot(5, "e")])[0].is_ok(), "it goes on");
    }
}
