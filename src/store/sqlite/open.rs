//! Files, locks, connections and schema: all that happens before the first verb.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::store::Error;

/// Only ever added to; the schema version is their number.
const MIGRATIONS: [&str; 10] = [
    include_str!("../migrations/sqlite/0001_initial.sql"),
    include_str!("../migrations/sqlite/0002_events.sql"),
    include_str!("../migrations/sqlite/0003_client_sessions.sql"),
    include_str!("../migrations/sqlite/0004_windows_and_feeds.sql"),
    include_str!("../migrations/sqlite/0005_holds.sql"),
    include_str!("../migrations/sqlite/0006_stock.sql"),
    include_str!("../migrations/sqlite/0007_owed_since.sql"),
    include_str!("../migrations/sqlite/0008_fewer_pages.sql"),
    include_str!("../migrations/sqlite/0009_files.sql"),
    include_str!("../migrations/sqlite/0010_events_of_acs_user.sql"),
];

/// "OAdp": marks the file as ours.
const APPLICATION_ID: i64 = 0x4F41_6470;

/// Only an operator's own `sqlite3` can be in the way.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const LOCK_TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// How much of the file the writing connection keeps in memory, and after how many pages of the log they go into the file.
pub(super) struct Room {
    cache_kib: i64,
    checkpoint_pages: i64,
}

/// Most of the time.
pub(super) const LITTLE: Room = Room {
    cache_kib: 8 * 1024,
    checkpoint_pages: 1000,
};

/// While many write: what the largest group changes fits in, so that each page of it is written once; and a page that is
/// written by one group after the other goes into the file once. A start after a crash reads such a log in a tenth of a
/// second.
pub(super) const MUCH: Room = Room {
    cache_kib: 48 * 1024,
    checkpoint_pages: 8192,
};

impl Room {
    /// Gives a connection so much, and takes back what it has beyond.
    pub(super) fn give(&self, conn: &Connection) -> Result<(), Error> {
        conn.pragma_update(None, "cache_size", -self.cache_kib)?;
        conn.pragma_update(None, "wal_autocheckpoint", self.checkpoint_pages)?;
        Ok(conn.execute_batch("PRAGMA shrink_memory")?)
    }
}

/// More than there are statements, so that none is parsed twice.
const STATEMENTS: usize = 112;

/// The file that is the database, and the lock that makes it ours alone while this lives.
pub(super) struct Place {
    path: PathBuf,
    /// The last daemon did not get to close the database.
    pub(super) crashed: bool,
    _lock: File,
}

/// A program that its former owner was just starting has it for a moment, too.
fn take_lock(lock: &File) -> Result<(), TryLockError> {
    for _ in 1..LOCK_TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            taken => return taken,
        }
    }
    lock.try_lock()
}

impl Place {
    /// Makes the file where there is none, and takes the lock.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let path = resolve(path)?;
        let lock_path = beside(&path, ".lock");
        let lock = private(&lock_path, OpenOptions::new().create(true))?;
        take_lock(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => Error::InUse,
            TryLockError::Error(error) => failed("lock", &lock_path, &error),
        })?;
        let log = beside(&path, "-wal").metadata();
        let crashed = log.is_ok_and(|log| log.len() > 0);
        if !path.exists() {
            private(&path, OpenOptions::new().create_new(true))?;
            if let Some(parent) = path.parent() {
                File::open(parent)
                    .and_then(|directory| directory.sync_all())
                    .map_err(|error| failed("sync", parent, &error))?;
            }
        }
        Ok(Self {
            path,
            crashed,
            _lock: lock,
        })
    }

    /// The connection that writes, its schema up to date.
    pub(super) fn writer(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = configured(Connection::open_with_flags(&self.path, flags)?)?;
        refuse_others(&conn)?;
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Error::Database(
                format!("no write-ahead log here, only mode {mode}").into(),
            ));
        }
        conn.pragma_update(None, "synchronous", "FULL")?;
        LITTLE.give(&conn)?;
        migrate(&conn)?;
        Ok(conn)
    }

    /// A connection that only reads.
    pub(super) fn reader(&self) -> Result<Connection, Error> {
        reader(&self.path)
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A connection that only reads, whoever has the file.
pub(super) fn reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    configured(Connection::open_with_flags(path, flags)?)
}

/// A database that is gone with its connection.
pub(super) fn in_memory() -> Result<Connection, Error> {
    let conn = configured(Connection::open_in_memory()?)?;
    migrate(&conn)?;
    Ok(conn)
}

/// Counts one more opening of the database and returns its number.
pub(super) fn next_opening(conn: &Connection) -> Result<i64, Error> {
    let sql = "UPDATE openings SET number = number + 1 RETURNING number";
    Ok(conn.query_row(sql, [], |row| row.get(0))?)
}

fn configured(conn: Connection) -> Result<Connection, Error> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else a statement is planned anew for other values of its parameters.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", "ON")?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    // What a savepoint needs to be undone, among others; a full disk must not be in its way.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

pub(super) fn refuse_others(conn: &Connection) -> Result<(), Error> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(Error::Database(
            "the file holds another program's database".into(),
        ));
    }
    Ok(())
}

/// Reads the whole file.
pub(super) fn check(conn: &Connection) -> Result<(), Error> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::Database(
        format!("the file is damaged: {found}").into(),
    ))
}

/// The schema's.
pub(super) fn version(conn: &Connection) -> Result<i64, Error> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

pub(super) fn refuse_newer(conn: &Connection) -> Result<(), Error> {
    let found = version(conn)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(Error::Newer { found, known });
    }
    Ok(())
}

pub(super) fn migrate(conn: &Connection) -> Result<(), Error> {
    refuse_newer(conn)?;
    let found = version(conn)?;
    let mut known = 0;
    for migration in MIGRATIONS {
        known += 1;
        if known > found {
            let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", known)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// Two names of one file must find one lock.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    if path.exists() {
        return path
            .canonicalize()
            .map_err(|error| failed("resolve", path, &error));
    }
    let parent = directory_of(path);
    let name = path.file_name().ok_or_else(|| {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        failed("create", path, &error)
    })?;
    let parent = parent
        .canonicalize()
        .map_err(|error| failed("find the directory", parent, &error))?;
    Ok(parent.join(name))
}

/// Where a file lies; one that is only named lies in the working directory.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Nobody else reads what is in here: names, addresses, invitation codes, tokens.
fn private(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed("create", path, &error))
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Database(format!("cannot {what} {}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_lies_in_the_working_directory() {
        let here = Path::new(".").canonicalize().unwrap();
        let file = resolve(Path::new("not-there.db")).unwrap();
        assert_eq!(file, here.join("not-there.db"));
    }
}
