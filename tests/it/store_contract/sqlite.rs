//! The suite on `SQLite`, and what only that store promises.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use origo_adapter::core::index::Kind;
use origo_adapter::store::sqlite::{Options, Sqlite, Threads};
use origo_adapter::store::{Error, Grant, Store};
use tempfile::TempDir;

use super::records::{all, half_an_id_makes_no_sense};
use super::samples::{adding, at, change, commit, id, releasing, row, slot, taking, token};

/// A store and the directory that holds it.
struct Bed {
    store: Sqlite,
    directory: Option<TempDir>,
}

fn file(threads: Threads) -> Bed {
    let directory = TempDir::new().unwrap();
    Bed {
        store: open(&directory.path().join("state.db"), threads),
        directory: Some(directory),
    }
}

fn memory() -> Bed {
    Bed {
        store: Sqlite::in_memory().unwrap(),
        directory: None,
    }
}

fn open(path: &Path, threads: Threads) -> Sqlite {
    Sqlite::open(path, Options { threads }).unwrap()
}

suite!(
    file_background,
    Some(super::file(super::Threads::Background))
);
suite!(file_caller, Some(super::file(super::Threads::Caller)));
suite!(in_memory, Some(super::memory()));

impl Bed {
    fn path(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().join("state.db")
    }

    /// The next daemon on the same file.
    fn restart(self, threads: Threads) -> Self {
        let path = self.path();
        drop(self.store);
        Self {
            store: open(&path, threads),
            directory: self.directory,
        }
    }
}

const BOTH: [Threads; 2] = [Threads::Background, Threads::Caller];

#[tokio::test]
async fn keeps_a_second_daemon_out() {
    for threads in BOTH {
        let bed = file(threads);
        let link = bed.path().with_file_name("link.db");
        std::os::unix::fs::symlink(bed.path(), &link).unwrap();
        let clone = bed.store.clone();
        for path in [bed.path(), link] {
            let second = Sqlite::open(&path, Options { threads });
            assert!(matches!(second, Err(Error::InUse)));
        }
        let path = bed.path();
        drop(bed.store);
        let second = Sqlite::open(&path, Options { threads });
        assert!(matches!(second, Err(Error::InUse)), "a handle is left");
        drop(clone);
        open(&path, threads).ping().await.unwrap();
    }
}

#[tokio::test]
async fn finds_everything_after_a_restart() {
    for threads in BOTH {
        let bed = file(threads);
        let store = &bed.store;
        store.commit(commit(1, 0)).await.unwrap();
        let mut claimed = taking(commit(2, 0), slot(1, &[("w", 1)], at(500)));
        claimed.changes = vec![change("phone/1", None, Some("active"))];
        store.commit(claimed).await.unwrap();
        assert_eq!(store.abandoned(at(0)).await.unwrap(), []);
        let before = store.load(id(2)).await.unwrap();
        let journal = store.journal(id(2)).await.unwrap();

        let bed = bed.restart(threads);
        let store = &bed.store;
        assert_eq!(store.load(id(2)).await.unwrap(), before);
        assert_eq!(store.journal(id(2)).await.unwrap(), journal);
        assert!(store.load(id(1)).await.unwrap().is_some());
        let abandoned = store.abandoned(at(0)).await.unwrap();
        let left = [(id(2), token(1))];
        assert_eq!(abandoned, left, "long before its lease ends");
        let next = taking(commit(1, 1), slot(2, &[("v", 1)], at(500)));
        store.commit(next).await.unwrap();
        assert_eq!(store.abandoned(at(0)).await.unwrap(), left, "one is ours");
        let grant = store
            .take_slots(vec![slot(3, &[("w", 1)], at(900))], Vec::new())
            .await;
        assert_eq!(
            grant.unwrap(),
            Grant::NotBefore(at(500)),
            "a dead daemon's slot counts"
        );
    }
}

#[tokio::test]
async fn a_simulated_crash_abandons_claims() {
    let bed = memory();
    let call = taking(commit(1, 0), slot(1, &[], at(500)));
    bed.store.commit(call).await.unwrap();
    assert_eq!(bed.store.clone().abandoned(at(0)).await.unwrap(), []);
    let next = bed.store.reopened().unwrap();
    drop(bed);
    assert_eq!(next.abandoned(at(0)).await.unwrap(), [(id(1), token(1))]);
    assert!(next.load(id(1)).await.unwrap().is_some());
    let background = file(Threads::Background);
    assert!(background.store.reopened().is_err());
}

/// What a killed process leaves behind: the files as they are, the log not yet folded in.
#[tokio::test]
async fn recovers_what_a_killed_daemon_acknowledged() {
    let bed = file(Threads::Background);
    bed.store.commit(commit(1, 0)).await.unwrap();
    let crashed = TempDir::new().unwrap();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(bed.path().with_file_name(name), crashed.path().join(name)).unwrap();
    }
    let path = crashed.path().join("state.db");
    let store = open(&path, Threads::Background);
    assert!(store.load(id(1)).await.unwrap().is_some());
    drop(store);
    let log = crashed.path().join("state.db-wal");
    assert!(!log.exists(), "a clean end folds the log in");
}

/// What power loss leaves behind: the end of the log is cut off or wrong.
#[tokio::test]
async fn a_torn_log_ends_the_history_and_spoils_nothing() {
    const MANY: u128 = 20;
    let bed = file(Threads::Caller);
    for n in 1..=MANY {
        bed.store.commit(commit(n, 0)).await.unwrap();
    }
    let database = fs::read(bed.path()).unwrap();
    let log = fs::read(bed.path().with_file_name("state.db-wal")).unwrap();
    let kept_of = async |log: &[u8]| {
        let crashed = TempDir::new().unwrap();
        let path = crashed.path().join("state.db");
        fs::write(&path, &database).unwrap();
        fs::write(crashed.path().join("state.db-wal"), log).unwrap();
        let store = open(&path, Threads::Caller);
        let mut kept = 0;
        for n in 1..=MANY {
            if store.load(id(n)).await.unwrap().is_some() {
                assert_eq!(kept, n - 1, "a gap in the history");
                kept = n;
            }
        }
        store.commit(commit(1000, 0)).await.unwrap();
        kept
    };
    assert_eq!(kept_of(&log).await, MANY);
    let mut flipped = log.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(kept_of(&flipped).await, MANY - 1);
    let mut before = MANY;
    for cut in (1..20).map(|part| part * log.len() / 20) {
        let kept = kept_of(&log[..log.len() - cut]).await;
        assert!(kept <= before, "{kept} of {before} after {cut} bytes less");
        before = kept;
    }
    assert_eq!(before, 0, "the log began with the schema");
}

/// A page in the middle is lost; the log tells of a crash.
#[tokio::test]
async fn a_damaged_file_is_noticed() {
    const PAGE: usize = 4096;
    let bed = file(Threads::Caller);
    let path = bed.path();
    for n in 1..=200 {
        let rows = [row(Kind::Identity, &n.to_string(), at(0))];
        let commit = adding(commit(n, 0), &rows);
        bed.store.commit(commit).await.unwrap();
    }
    drop(bed.store);
    let mut bytes = fs::read(&path).unwrap();
    let field = b"\"enrollments\"";
    let mut pages = bytes.chunks_mut(PAGE);
    let of_identities = pages.find(|page| page.windows(field.len()).any(|text| text == field));
    of_identities.unwrap().fill(0);
    fs::write(&path, &bytes).unwrap();
    let log = path.with_file_name("state.db-wal");
    let options = || Options {
        threads: Threads::Caller,
    };
    for crashed in [true, false] {
        if crashed {
            fs::write(&log, [0; 64]).unwrap();
        }
        let store = Sqlite::open(&path, options()).unwrap();
        assert_eq!(store.crashed(), crashed, "a clean end is believed");
        assert!(matches!(store.check().await, Err(Error::Database(_))));
    }
}

#[tokio::test]
async fn a_ping_reads_what_is_there() {
    let bed = file(Threads::Background);
    assert!(bed.store.ping().await.is_ok());
    raw(&bed.path(), "DROP TABLE openings");
    assert!(bed.store.ping().await.is_err());
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let bed = file(Threads::Caller);
    let path = bed.path();
    drop(bed.store);
    raw(&path, "PRAGMA user_version = 999");
    let opened = Sqlite::open(&path, Options::default());
    assert!(matches!(opened, Err(Error::Newer { found: 999, known }) if known < 999));
}

#[tokio::test]
async fn refuses_what_is_not_ours() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("other.db");
    raw(&path, "CREATE TABLE songs (title TEXT)");
    assert!(matches!(
        Sqlite::open(&path, Options::default()),
        Err(Error::Database(_))
    ));
    let nowhere = directory.path().join("no/state.db");
    let Err(Error::Database(cause)) = Sqlite::open(&nowhere, Options::default()) else {
        panic!("there is no directory");
    };
    assert!(cause.to_string().contains("/no"), "{cause}");
}

#[tokio::test]
async fn half_an_id_in_a_file_of_people_makes_no_sense() {
    let bed = file(Threads::Background);
    let spoil = async || raw(&bed.path(), "UPDATE file_batches SET kept = x'01'");
    half_an_id_makes_no_sense(&bed.store, spoil).await;
}

#[tokio::test]
async fn says_loudly_that_a_row_makes_no_sense() {
    let spoilt = [
        "UPDATE identities SET state = '{\"id\": \"Ada Okafor\"}'",
        "UPDATE identities SET state = replace(state, '0001', '0002')",
    ];
    for sql in spoilt {
        let bed = file(Threads::Background);
        let identity = adding(commit(1, 0), &[row(Kind::Identity, "1", at(0))]);
        bed.store.commit(identity).await.unwrap();
        let path = bed.path();
        drop(bed.store);
        raw(&path, sql);

        let store = open(&path, Threads::Background);
        let error = store.load(id(1)).await.unwrap_err();
        let Error::Corrupt { table, key, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!((table, key), ("identities", id(1).to_string()));
        assert!(!source.to_string().contains("Ada"), "{source}");
        let listed = store.list(all(&[Kind::Identity])).await;
        assert!(matches!(listed, Err(Error::Corrupt { .. })));
    }
}

#[tokio::test]
async fn groups_commits_that_wait() {
    const MANY: u128 = 200;
    let bed = file(Threads::Background);
    let store = Arc::new(bed.store.clone());
    let before = store.transactions();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 1..=MANY {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.commit(commit(n, 0)).await });
    }
    let results = tasks.join_all().await;
    assert!(results.iter().all(Result::is_ok));
    let used = store.transactions() - before;
    assert!((1..50).contains(&used), "{used} transactions");
    for n in 1..=MANY {
        assert!(store.load(id(n)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_refusal_spares_its_neighbours() {
    let bed = file(Threads::Background);
    let store = &bed.store;
    let phone = [row(Kind::Phone, "p", at(0))];
    store.commit(adding(commit(1, 0), &phone)).await.unwrap();
    let before = store.transactions();
    let counted = store.head().await.unwrap().commits;
    let mut commits = Vec::new();
    for n in 2..60 {
        let rows = if n % 2 == 0 { &phone[..] } else { &[] };
        let next = adding(commit(n, 0), rows);
        commits.push(store.commit(taking(next, slot(n, &[("w", 100)], at(9)))));
    }
    // Two of one identity in one group: the second sees the first.
    commits.push(store.commit(commit(1, 1)));
    commits.push(store.commit(commit(1, 1)));
    let results = together(commits).await;
    let used = store.transactions() - before;
    assert!(used < 30);
    let counted = store.head().await.unwrap().commits - counted;
    // A group of a single one that is refused writes nothing.
    assert!((1..=used).contains(&counted), "{counted} of {used}");
    for (n, result) in (2..60_u128).zip(&results) {
        let refused = matches!(result, Err(Error::Taken(Kind::Phone)));
        assert_eq!(refused, n % 2 == 0, "{n}: {result:?}");
        assert_eq!(result.is_ok(), n % 2 == 1, "{n}: {result:?}");
        let kept = store.load(id(n)).await.unwrap().is_some();
        assert_eq!(kept, n % 2 == 1, "{n}");
    }
    let [first, second] = &results[58..] else {
        panic!("two more");
    };
    assert!(first.is_ok() && matches!(second, Err(Error::Conflict(_))));
    let grant = store
        .take_slots(vec![slot(99, &[("w", 30)], at(50))], Vec::new())
        .await;
    assert_eq!(grant.unwrap(), Grant::Taken, "only 29 took a place");
}

/// Polls all of them before it waits for any.
async fn together<T>(mut verbs: Vec<origo_adapter::store::Verb<'_, T>>) -> Vec<Result<T, Error>> {
    let mut results: Vec<_> = verbs.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (verb, result) in verbs.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(ready) = verb.as_mut().poll(context)
            {
                *result = Some(ready);
            }
        }
        if results.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_dropped_verb_happens_whole_or_not_at_all() {
    let bed = file(Threads::Background);
    let store = &bed.store;
    for n in 1..100 {
        let mut dropped = adding(commit(n, 0), &[row(Kind::Phone, &n.to_string(), at(0))]);
        dropped.changes = vec![change("phone/1", None, Some("active"))];
        let verb = store.commit(dropped);
        let polled = tokio::time::timeout(std::time::Duration::ZERO, verb).await;
        drop(polled);
    }
    store.commit(commit(1000, 0)).await.unwrap();
    for n in 1..100 {
        let there = store.load(id(n)).await.unwrap().is_some();
        let found = store.find(Kind::Phone, n.to_string()).await.unwrap();
        assert_eq!(found.is_some(), there);
        assert_eq!(
            store.journal(id(n)).await.unwrap().len(),
            usize::from(there)
        );
    }
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let bed = file(Threads::Background);
    bed.store.commit(commit(1, 0)).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(bed.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        ["state.db", "state.db-shm", "state.db-wal", "state.db.lock"]
    );
}

/// The paused clock would run ahead of a thread that tokio does not know.
#[tokio::test(start_paused = true)]
async fn the_callers_thread_holds_a_paused_clock() {
    for bed in [memory(), file(Threads::Caller)] {
        let before = tokio::time::Instant::now();
        for n in 1..50 {
            let call = taking(commit(n, 0), slot(n, &[], at(9)));
            bed.store.commit(call).await.unwrap();
            let answer = releasing(commit(n, 1), n, None);
            bed.store.commit(answer).await.unwrap();
        }
        assert_eq!(before.elapsed(), std::time::Duration::ZERO);
        assert_eq!(bed.store.transactions(), 98);
    }
}

fn raw(path: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(sql).unwrap();
}

/// More at once than there are connections to read by.
#[tokio::test(flavor = "multi_thread")]
async fn readers_wait_for_each_other() {
    let bed = file(Threads::Background);
    for n in 1..50 {
        bed.store.commit(commit(n, 0)).await.unwrap();
    }
    let looks: tokio::task::JoinSet<bool> = (0..64)
        .map(|_| {
            let store = bed.store.clone();
            async move { store.check().await.is_ok() }
        })
        .collect();
    assert!(looks.join_all().await.into_iter().all(|is_whole| is_whole));
}
