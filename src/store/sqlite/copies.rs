//! Copies of the database: made while a daemon runs, put back while none does.

#[cfg(test)]
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Statement, Transaction, TransactionBehavior, params};

use super::open::{self, Place, beside, failed};
use super::{audit, head};
use crate::core::ids::Timestamp;
use crate::store::journal::{Audit, Summed};
use crate::store::{Error, Head};

/// What follows from a restore, and from a copy to elsewhere.
const RESTORED: &str = "restore";
const COPIED: &str = "copy";

/// Writes a copy of the database at `path` as of one moment to the new file `to` (mode 0600); the daemon may run.
/// The copy is whole and on disk when this returns; on failure there is none.
pub fn backup(path: &Path, to: &Path) -> Result<(), Error> {
    let conn = open::reader(path)?;
    open::refuse_others(&conn)?;
    let partial = beside(to, ".partial");
    let made = make(&conn, &partial).and_then(|()| put_in_place(&partial, to));
    if made.is_err() {
        // Whatever is left of it is of no use.
        fs::remove_file(&partial).ok();
    }
    made
}

fn make(conn: &Connection, partial: &Path) -> Result<(), Error> {
    // Left by one that was killed.
    fs::remove_file(partial).ok();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(partial)
        .map_err(|error| failed("create", partial, &error))?;
    conn.execute("VACUUM INTO ?1", params![partial.to_string_lossy()])?;
    file.sync_all()
        .map_err(|error| failed("sync", partial, &error))
}

/// Never over another file.
fn put_in_place(partial: &Path, to: &Path) -> Result<(), Error> {
    if to.exists() {
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(failed("create", to, &error));
    }
    rename(partial, to)
}

/// Puts a copy of the file `from` in the place of the database at `path`, marked as older than what was done, and
/// returns where the replaced one lies, if there was one. Refused with [`Error::InUse`] while a daemon runs; before the
/// copy was found good nothing is touched.
pub fn restore(from: &Path, path: &Path, now: Timestamp) -> Result<Option<PathBuf>, Error> {
    let was_there = path.exists();
    let owner = owner_to_be(path)?;
    let place = Place::take(path)?;
    let path = place.path();
    let new = beside(path, ".restoring");
    let made = check(from).and_then(|()| copy(from, &new, now));
    if let Err(error) = made {
        fs::remove_file(&new).ok();
        return Err(error);
    }
    let kept = beside(path, &format!(".replaced-{}", now.0));
    // Its log and what belongs to it go with it.
    for suffix in ["", "-wal", "-shm"] {
        let old = beside(path, suffix);
        if old.exists() {
            rename(&old, &beside(&kept, suffix))?;
        }
    }
    rename(&new, path)?;
    give(path, owner)?;
    give(&beside(path, ".lock"), owner)?;
    if !was_there {
        // Only the empty file that the lock made.
        fs::remove_file(&kept).ok();
    }
    Ok(was_there.then_some(kept))
}

/// User and group of the database as it was, else of its directory: root restores what a daemon's own account opens.
fn owner_to_be(path: &Path) -> Result<(u32, u32), Error> {
    let like = if path.exists() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let found = fs::metadata(like).map_err(|error| failed("look at", like, &error))?;
    Ok((found.uid(), found.gid()))
}

fn give(path: &Path, (user, group): (u32, u32)) -> Result<(), Error> {
    let now = fs::metadata(path).map_err(|error| failed("look at", path, &error))?;
    if (now.uid(), now.gid()) == (user, group) {
        return Ok(());
    }
    chown(path, Some(user), Some(group)).map_err(|error| failed("chown", path, &error))
}

/// It is ours and not damaged; whether it is newer than we are is looked at by [`copy`], as it migrates.
fn check(from: &Path) -> Result<(), Error> {
    let conn = open::reader(from)?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Err(Error::Database("the file holds no database".into()));
    }
    open::refuse_others(&conn)?;
    open::check(&conn)
}

fn copy(from: &Path, new: &Path, now: Timestamp) -> Result<(), Error> {
    fs::remove_file(new).ok();
    let source = open::reader(from)?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)
        .map_err(|error| failed("create", new, &error))?;
    source.execute("VACUUM INTO ?1", params![new.to_string_lossy()])?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(new, flags)?;
    open::migrate(&conn)?;
    head::regress(&conn, Some(now), RESTORED)?;
    conn.close().map_err(|(_, error)| error)?;
    file.sync_all().map_err(|error| failed("sync", new, &error))
}

/// Brings the schema of the database at `path` up to date; returns its versions before and after. Refused with
/// [`Error::InUse`] while a daemon runs.
pub fn migrate(path: &Path) -> Result<(i64, i64), Error> {
    let place = Place::take(path)?;
    let before = open::version(&open::reader(place.path())?)?;
    let after = open::version(&place.writer()?)?;
    Ok((before, after))
}

/// A database that no daemon has as long as this lives: for whoever takes everything out of it.
pub(in crate::store) struct AtRest {
    conn: Connection,
    place: Place,
}

impl AtRest {
    /// Its schema is brought up to date. Refused with [`Error::InUse`] while a daemon runs, and where it is damaged.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            let error = io::Error::from(io::ErrorKind::NotFound);
            return Err(failed("open", path, &error));
        }
        let place = Place::take(path)?;
        let conn = place.writer()?;
        open::check(&conn)?;
        Ok(Self { conn, place })
    }

    /// The ends of all journals, each row of which is as it was written.
    pub(in crate::store) fn journal(&self) -> Result<Summed, Error> {
        match audit::verify(self.place.path())? {
            Audit::Whole { heads, .. } => Ok(heads),
            Audit::Broken(broken) => Err(Error::Database(broken.to_string().into())),
        }
    }

    pub(in crate::store) fn head(&self) -> Result<Head, Error> {
        head::get(&self.conn)
    }

    pub(in crate::store) fn prepare(&self, sql: &str) -> Result<Statement<'_>, Error> {
        Ok(self.conn.prepare(sql)?)
    }

    /// As after a [`restore`].
    pub(in crate::store) fn mark_as_older(&self, now: Timestamp) -> Result<(), Error> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        head::regress(&transaction, Some(now), COPIED)?;
        head::count(&transaction)?;
        Ok(transaction.commit()?)
    }
}

/// Each table of a new database, with its columns.
#[cfg(test)]
pub(in crate::store) fn schema() -> BTreeMap<String, BTreeSet<String>> {
    let conn = open::in_memory().unwrap();
    let sql = "SELECT t.name, c.name FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c \
        WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite_%'";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for row in rows.unwrap() {
        let (table, column) = row.unwrap();
        found.entry(table).or_default().insert(column);
    }
    found
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| failed("rename", from, &error))?;
    sync(open::directory_of(to))
}

fn sync(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| failed("sync", directory, &error))
}
