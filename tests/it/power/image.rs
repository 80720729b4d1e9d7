//! Opening what the loss of power has left, with the store that the daemon opens it with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use origo_adapter::clock::SystemClock;
use origo_adapter::core::effect::Effect;
use origo_adapter::core::identity::{DoubtStage, Identity};
use origo_adapter::core::ids::IdentityId;
use origo_adapter::core::index::Kind;
use origo_adapter::core::policy::Policy;
use origo_adapter::engine::Engine;
use origo_adapter::store::sqlite::{Options, Sqlite, Threads};
use origo_adapter::store::{ListQuery, Loaded, Store};
use origo_adapter::worker;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::disk::Image;

/// Where images are put down and opened, one after the other.
pub(super) struct Bench {
    folder: TempDir,
    runtime: Runtime,
}

/// What an image holds.
pub(super) struct Held {
    /// Every row of every table, as text.
    pub(super) rows: String,
    pub(super) identities: BTreeMap<IdentityId, Loaded>,
}

impl Bench {
    pub(super) fn new() -> Self {
        // Only what is opened counts here, not where.
        let memory = Path::new("/dev/shm");
        let folder = TempDir::new_in(memory).or_else(|_| TempDir::new());
        let runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            folder: folder.unwrap(),
            runtime: { runtime }.enable_all().build().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    fn store(&self) -> Result<Sqlite, String> {
        let threads = Threads::Caller;
        Sqlite::open(&self.file(), Options { threads })
            .map_err(|error| format!("it does not open: {error:?}"))
    }

    /// Puts the image down, opens it and looks at everything.
    pub(super) fn open(&self, image: &Image) -> Result<Held, String> {
        for old in fs::read_dir(self.folder.path()).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
        put(image, self.folder.path());
        let store = self.store()?;
        let listed = self.runtime.block_on(store.list(ListQuery {
            kinds: vec![Kind::Identity],
            limit: 1000,
            ..ListQuery::default()
        }));
        let listed = listed.map_err(|error| format!("it can't be read: {error:?}"))?;
        drop(store);
        let identity = |(_, loaded): (_, Loaded)| (loaded.identity.id, loaded);
        Ok(Held {
            rows: rows(&self.file())?,
            identities: listed.into_iter().map(identity).collect(),
        })
    }

    /// Lets the next daemon take over what the image shows as under way: an issue becomes a doubt that forbids
    /// another one, and nothing stays under way.
    pub(super) fn recover(&self, held: &Held, policy: &Policy) -> Result<(), String> {
        let under_way = |loaded: &&Loaded| loaded.identity.in_flight.is_some();
        let cut_off: Vec<&Loaded> = held.identities.values().filter(under_way).collect();
        if cut_off.is_empty() {
            return Ok(());
        }
        let store = Arc::new(self.store()?);
        let engine = Engine::new(store, Arc::new(SystemClock), policy.clone());
        self.runtime.block_on(async {
            let now = engine.window_now().await;
            let now = now.map_err(|error| format!("no time: {error:?}"))?;
            let taken_over = worker::recover(&engine, now).await;
            let taken_over = taken_over.map_err(|error| format!("no takeover: {error:?}"))?;
            if taken_over != cut_off.len() {
                return Err(format!("{taken_over} of {} taken over", cut_off.len()));
            }
            for loaded in cut_off {
                let id = loaded.identity.id;
                let after = engine.store().load(id).await.unwrap().unwrap().identity;
                doubts(&loaded.identity, &after)?;
            }
            Ok(())
        })
    }
}

fn put(image: &Image, folder: &Path) {
    for (name, content) in image {
        fs::write(folder.join(name), content).unwrap();
    }
}

/// Puts an image where somebody can look at it.
pub(super) fn keep(image: &Image) -> PathBuf {
    let folder = TempDir::new().unwrap().keep();
    put(image, &folder);
    folder
}

fn doubts(before: &Identity, after: &Identity) -> Result<(), String> {
    if after.in_flight.is_some() {
        return Err(format!("{} still calls", after.id));
    }
    let call = before.in_flight.as_ref().map(|call| &call.effect);
    let Some(Effect::Issue {
        container,
        part_number,
    }) = call
    else {
        return Ok(());
    };
    let mut phones = after.enrollments.values().flat_map(|e| e.phones.values());
    let phone = phones.find(|phone| phone.container == *container).unwrap();
    let doubt = &phone.keys[part_number].doubt;
    let open = matches!(doubt.stage, DoubtStage::Open { blank_at: None, .. });
    if open && doubt.unattributed > 0 {
        return Ok(());
    }
    Err(format!("an issue to {container:?} is forgotten: {doubt:?}"))
}

/// Everything as SQLite itself sees it; refused where it finds fault.
fn rows(file: &Path) -> Result<String, String> {
    let said = |error: rusqlite::Error| format!("it can't be read: {error}");
    let conn = Connection::open(file).map_err(said)?;
    let verdict: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(said)?;
    if verdict != "ok" {
        return Err(format!("it is damaged: {verdict}"));
    }
    let mut text = String::new();
    for table in tables(&conn).map_err(said)? {
        writeln!(text, "{table}").unwrap();
        write_table(&conn, &table, &mut text).map_err(said)?;
    }
    Ok(text)
}

fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

fn write_table(conn: &Connection, table: &str, text: &mut String) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))?;
    let names: Vec<String> = statement
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for (column, name) in names.iter().enumerate() {
            // Made at random with its table: after a loss before that it is another.
            if name == "database" {
                continue;
            }
            match row.get_ref(column)? {
                ValueRef::Text(value) => text.push_str(&String::from_utf8_lossy(value)),
                value @ (ValueRef::Null
                | ValueRef::Integer(_)
                | ValueRef::Real(_)
                | ValueRef::Blob(_)) => write!(text, "{value:?}").unwrap(),
            }
            text.push('|');
        }
        text.push('\n');
    }
    Ok(())
}
