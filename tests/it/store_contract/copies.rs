//! The file copied, put back and brought up to date; and what is refused instead.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::index::Kind;
use origo_adapter::store::sqlite::copies::{backup, migrate, restore};
use origo_adapter::store::sqlite::{Sqlite, audit};
use origo_adapter::store::{Error, Options, Store as _, Threads};
use tempfile::TempDir;

use super::samples::{adding, at, change, commit, id, row};

const OPTIONS: Options = Options {
    threads: Threads::Caller,
};
/// The schema's version.
const NEWEST: i64 = 10;
const OLDEST: &str = include_str!("../../../src/store/migrations/sqlite/0001_initial.sql");
/// What says that a file is ours.
const OURS: &str = "PRAGMA application_id = 0x4F416470";

/// A folder with a database of a hundred people.
struct Place(TempDir);

impl Place {
    async fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let store = place.open("state.db");
        for n in 1..=100 {
            let rows = [row(Kind::Identity, &n.to_string(), at(0))];
            let mut somebody = adding(commit(n, 0), &rows);
            somebody.changes = vec![change("phone/1", None, Some("active"))];
            store.commit(somebody).await.unwrap();
        }
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Sqlite {
        Sqlite::open(&self.file(name), OPTIONS).unwrap()
    }

    fn raw(&self, name: &str, sql: &str) -> PathBuf {
        let path = self.file(name);
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(sql).unwrap();
        path
    }

    /// What is no database to go on with, by why.
    fn others(&self) -> Vec<(&'static str, PathBuf)> {
        let newer = format!("{OURS}; PRAGMA user_version = 999; CREATE TABLE head (a)");
        let halved = format!("{OURS}; PRAGMA user_version = {NEWEST}; CREATE TABLE identities (a)");
        let copy = self.file("damaged.db");
        backup(&self.file("state.db"), &copy).unwrap();
        let nonsense = self.file("nonsense.db");
        fs::write(&nonsense, "no database at all").unwrap();
        let empty = self.file("empty.db");
        fs::write(&empty, "").unwrap();
        vec![
            (
                "another program's",
                self.raw("songs.db", "CREATE TABLE songs (title)"),
            ),
            ("newer", self.raw("newer.db", &newer)),
            ("without its tables", self.raw("halved.db", &halved)),
            ("damaged", damaged(copy)),
            ("nonsense", nonsense),
            ("empty", empty),
            ("not there", self.file("nowhere.db")),
        ]
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

/// The root of an index is lost: whoever only reads the table does not notice.
pub(super) fn damaged(file: PathBuf) -> PathBuf {
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'events'";
    let number = |sql: &str| -> usize {
        let found: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
        usize::try_from(found).unwrap()
    };
    let (root, page) = (number(sql), number("PRAGMA page_size"));
    drop(conn);
    let mut bytes = fs::read(&file).unwrap();
    bytes[(root - 1) * page..root * page].fill(0xA5);
    fs::write(&file, bytes).unwrap();
    file
}

async fn revision(store: &Sqlite, n: u128) -> Option<u64> {
    let loaded = store.load(id(n)).await.unwrap();
    loaded.map(|loaded| loaded.revision)
}

#[tokio::test]
async fn a_copy_is_made_while_a_daemon_runs_and_never_over_another_file() {
    let place = Place::new().await;
    let (path, to) = (place.file("state.db"), place.file("copy.db"));
    let daemon = place.open("state.db");
    daemon.commit(commit(1, 1)).await.unwrap();
    // Left by one that was killed.
    fs::write(place.file("copy.db.partial"), "half of it").unwrap();
    backup(&path, &to).unwrap();
    let mode = to.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&to).unwrap();
    assert!(matches!(backup(&path, &to), Err(Error::Database(_))));
    assert_eq!(fs::read(&to).unwrap(), before);
    let names = place.names();
    assert!(!names.contains(&"copy.db.partial".to_owned()), "{names:?}");
    let copy = place.open("copy.db");
    assert_eq!(revision(&copy, 1).await, Some(2));
    assert_eq!(copy.heads().await.unwrap(), daemon.heads().await.unwrap());
}

#[tokio::test]
async fn another_programs_file_is_not_copied_for_one_of_ours() {
    let place = Place::new().await;
    let songs = place.raw("songs.db", "CREATE TABLE songs (title)");
    let before = place.names();
    assert!(backup(&songs, &place.file("copy.db")).is_err());
    assert_eq!(place.names(), before);
}

/// Everything that belongs to the replaced database goes with it, and the copy is marked.
#[tokio::test]
async fn a_copy_is_put_back_and_marked_as_older() {
    let place = Place::new().await;
    let (path, copy) = (place.file("state.db"), place.file("copy.db"));
    backup(&path, &copy).unwrap();
    let daemon = place.open("state.db");
    daemon.commit(commit(1, 1)).await.unwrap();
    assert!(matches!(restore(&copy, &path, at(9)), Err(Error::InUse)));
    drop(daemon);
    let before = fs::read(&path).unwrap();
    fs::write(place.file("state.db-wal"), "its log").unwrap();
    // Left by one that was killed.
    fs::write(place.file("state.db.restoring"), "half of it").unwrap();

    let kept = restore(&copy, &path, at(9)).unwrap().unwrap();
    assert_eq!(fs::read(&kept).unwrap(), before);
    let mut log = kept.into_os_string();
    log.push("-wal");
    assert_eq!(fs::read_to_string(log).unwrap(), "its log");
    let names = place.names();
    for gone in ["state.db-wal", "state.db.restoring"] {
        assert!(!names.contains(&gone.to_owned()), "{names:?}");
    }
    let restored = place.open("state.db");
    assert_eq!(revision(&restored, 1).await, Some(1));
    assert_eq!(restored.head().await.unwrap().regressed_at, Some(at(9)));
    let holds = restored.holds().await.unwrap();
    let held: Vec<_> = holds
        .iter()
        .map(|hold| (&hold.scope, hold.reason, &*hold.cause))
        .collect();
    let expected = (&HoldScope::All, HoldReason::StateRegressed, "restore");
    assert_eq!(held, [expected]);
}

#[tokio::test]
async fn where_nothing_was_nothing_is_kept() {
    let place = Place::new().await;
    let there = TempDir::new().unwrap();
    let path = there.path().join("state.db");
    assert_eq!(
        restore(&place.file("state.db"), &path, at(9)).unwrap(),
        None
    );
    let mut names: Vec<_> = fs::read_dir(there.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["state.db", "state.db.lock"]);
    let store = Sqlite::open(&path, OPTIONS).unwrap();
    assert_eq!(revision(&store, 100).await, Some(1));
}

#[tokio::test]
async fn what_is_no_copy_of_ours_is_refused_and_nothing_is_touched() {
    let place = Place::new().await;
    let path = place.file("state.db");
    let others = place.others();
    let before = fs::read(&path).unwrap();
    for (why, other) in others {
        let names = place.names();
        let refused = restore(&other, &path, at(9));
        assert!(refused.is_err(), "{why}");
        assert_eq!(fs::read(&path).unwrap(), before, "{why}");
        let left = place.names();
        let added: Vec<_> = left.iter().filter(|name| !names.contains(name)).collect();
        assert!(
            added.iter().all(|name| *name == "state.db.lock"),
            "{why}: {added:?}"
        );
    }
}

/// A file of the first version.
fn old(place: &Place, name: &str) -> PathBuf {
    place.raw(name, &format!("{OURS}; PRAGMA user_version = 1; {OLDEST}"))
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date() {
    let place = Place::new().await;
    let path = old(&place, "old.db");
    assert_eq!(migrate(&path).unwrap(), (1, NEWEST));
    assert_eq!(migrate(&path).unwrap(), (NEWEST, NEWEST));
    let daemon = place.open("old.db");
    assert!(matches!(migrate(&path), Err(Error::InUse)));
    drop(daemon);
    let copy = old(&place, "copy.db");
    restore(&copy, &path, at(9)).unwrap();
    let restored = place.open("old.db");
    assert_eq!(restored.head().await.unwrap().regressed_at, Some(at(9)));
}

#[tokio::test]
async fn only_a_journal_of_ours_is_checked() {
    let place = Place::new().await;
    assert!(audit::verify(&place.file("state.db")).is_ok());
    // As ours as they can be without being ours.
    let journal =
        "CREATE TABLE journal (identity, seq, at, cause, entity, from_state, to_state, hash)";
    let songs = place.raw("songs.db", journal);
    let newer = place.raw(
        "newer.db",
        &format!("{OURS}; PRAGMA user_version = 999; {journal}"),
    );
    let refused = audit::verify(&songs);
    assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
    let refused = audit::verify(&newer);
    let is_newer = matches!(refused, Err(Error::Newer { found: 999, .. }));
    assert!(is_newer, "{refused:?}");
    assert!(audit::verify(Path::new("/nowhere/state.db")).is_err());
}
