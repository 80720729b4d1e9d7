//! All that a `SQLite` database holds, copied into an empty database of `PostgreSQL`.
//!
//! One transaction there: all of it or nothing. Before it ends, each row is read back and compared, and so are the ends of
//! all journals.

use std::path::Path;

use futures_util::TryStreamExt as _;
use rusqlite::types::Value;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, Row as _};

use super::open::{self, Settings};
use super::{audit, member};
use crate::core::ids::Timestamp;
use crate::store::Error;
use crate::store::journal::Summed;
use crate::store::sqlite::copies::AtRest;

/// So many rows go in a statement.
const BATCH: usize = 500;
const PUT_HEAD: &str = "UPDATE head SET database = $1, regressed_at = $2";
const PUT_COMMITS: &str = "UPDATE commits SET number = $1 WHERE part = 0";
/// Numbers of events that are forgotten are not given again.
const LAST_EVENT: &str = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'";
const PUT_LAST_EVENT: &str = "SELECT setval(pg_get_serial_sequence('events', 'seq'), $1)";

/// What a column holds; on both sides it is an integer, a text or bytes when it is compared.
#[derive(Clone, Copy)]
enum Kind {
    Int,
    Text,
    Bytes,
    /// A UUID; 16 bytes in a file.
    Id,
    /// 0 or 1 in a file.
    Flag,
    /// Texts; a JSON array in a file.
    Names,
}

use Kind::{Bytes, Flag, Id, Int, Names, Text};

impl Kind {
    fn array(self) -> &'static str {
        match self {
            Int | Flag => "bigint[]",
            Text | Names => "text[]",
            Bytes | Id => "bytea[]",
        }
    }

    /// How what came is kept.
    fn kept(self, column: &str) -> String {
        match self {
            Int | Text | Bytes => column.to_owned(),
            Id => format!("encode({column}, 'hex')::uuid"),
            Flag => format!("{column} <> 0"),
            Names => format!("ARRAY(SELECT json_array_elements_text({column}::json))"),
        }
    }

    /// How what is kept is told.
    fn told(self, column: &str) -> String {
        match self {
            Int | Text | Bytes => column.to_owned(),
            Id => format!("uuid_send({column})"),
            Flag => format!("{column}::int::bigint"),
            Names => format!("array_to_json({column})::text"),
        }
    }

    fn cell(self, row: &PgRow, place: usize) -> Result<Value, sqlx::Error> {
        let cell = match self {
            Int | Flag => row.try_get::<Option<i64>, _>(place)?.map(Value::Integer),
            Text | Names => row.try_get::<Option<String>, _>(place)?.map(Value::Text),
            Bytes | Id => row.try_get::<Option<Vec<u8>>, _>(place)?.map(Value::Blob),
        };
        Ok(cell.unwrap_or(Value::Null))
    }
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// The order of its rows.
    key: &'static str,
}

/// Each after those that it refers to. Who made a claim is not among the columns: nobody who did lives.
#[rustfmt::skip]
const TABLES: [Table; 15] = [
    Table { name: "identities", key: "id", columns: &[
        ("id", Id), ("revision", Int), ("state", Text), ("claim_token", Id), ("lease_until", Int)] },
    Table { name: "effects", key: "identity, lane", columns: &[
        ("identity", Id), ("lane", Text), ("manager", Id), ("class", Text), ("not_before", Int), ("effect", Text),
        ("line", Int), ("owed_since", Int)] },
    Table { name: "entities", key: "kind, id", columns: &[
        ("kind", Text), ("id", Text), ("identity", Id), ("created_at", Int), ("acs_system", Text), ("acs_user", Text),
        ("parent", Text)] },
    Table { name: "slots", key: "key, token", columns: &[
        ("key", Text), ("token", Id), ("taken_at", Int), ("frees_at", Int)] },
    Table { name: "window_epochs", key: "boot", columns: &[("boot", Id), ("epoch", Int)] },
    Table { name: "feeds", key: "manager", columns: &[("manager", Id), ("feed", Text)] },
    Table { name: "seen_events", key: "manager, id", columns: &[("manager", Id), ("id", Text), ("time", Int)] },
    Table { name: "stock", key: "manager", columns: &[("manager", Id), ("stock", Text)] },
    Table { name: "file_batches", key: "file, heard_at, kept", columns: &[
        ("file", Id), ("kept", Bytes), ("refused", Int), ("heard_at", Int)] },
    Table { name: "journal", key: "identity, seq", columns: &[
        ("identity", Id), ("seq", Int), ("at", Int), ("cause", Text), ("entity", Text), ("from_state", Text),
        ("to_state", Text), ("hash", Bytes)] },
    Table { name: "events", key: "seq", columns: &[
        ("seq", Int), ("id", Id), ("event_type", Text), ("created_at", Int), ("occurred_at", Int),
        ("acs_credential", Id), ("acs_user", Id), ("acs_system", Id), ("user_identity", Id), ("device", Id),
        ("automation", Id), ("client_session", Id)] },
    Table { name: "webhooks", key: "id", columns: &[
        ("id", Id), ("url", Text), ("event_types", Names), ("secret", Text), ("created_at", Int), ("enabled", Flag),
        ("failing_since", Int)] },
    Table { name: "deliveries", key: "webhook, event", columns: &[
        ("webhook", Id), ("event", Int), ("failures", Int), ("not_before", Int), ("claim_token", Id),
        ("lease_until", Int)] },
    Table { name: "client_sessions", key: "id", columns: &[
        ("id", Id), ("token", Text), ("token_hash", Bytes), ("user_identity", Id), ("identifier_key", Text),
        ("created_at", Int), ("expires_at", Int), ("revoked_at", Int)] },
    Table { name: "holds", key: "scope, part_number, reason", columns: &[
        ("scope", Bytes), ("part_number", Text), ("reason", Text), ("since", Int), ("cause", Text)] },
];

impl Table {
    fn columns(&self, expression: impl Fn(&str, Kind) -> String) -> String {
        let columns = self.columns.iter();
        let columns: Vec<_> = columns
            .map(|(name, kind)| expression(name, *kind))
            .collect();
        columns.join(", ")
    }

    fn names(&self) -> String {
        self.columns(|name, _| name.to_owned())
    }

    fn in_file(&self) -> String {
        format!(
            "SELECT {} FROM {} ORDER BY {}",
            self.names(),
            self.name,
            self.key
        )
    }

    fn on_server(&self) -> String {
        let told = self.columns(|name, kind| kind.told(name));
        format!("SELECT {told} FROM {} ORDER BY {}", self.name, self.key)
    }

    fn insert(&self) -> String {
        let arrays = self.columns.iter().zip(1..);
        let arrays: Vec<_> = arrays
            .map(|((_, kind), n)| format!("${n}::{}", kind.array()))
            .collect();
        format!(
            "INSERT INTO {} ({names}) SELECT {kept} FROM unnest({arrays}) AS row ({names})",
            self.name,
            names = self.names(),
            kept = self.columns(|name, kind| kind.kept(name)),
            arrays = arrays.join(", "),
        )
    }

    fn wrong(&self, place: usize, what: &'static str) -> Error {
        Error::Corrupt {
            table: self.name,
            key: format!("number {place} by {}", self.key),
            source: what.into(),
        }
    }
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// In all tables.
    pub rows: usize,
    /// The ends of all journals, the same in both.
    pub journal: Summed,
}

/// Copies the file at `from`, which stays as it is, but marked as older than what was done: should a daemon be started on
/// it again, it reads everybody before it issues anything new.
///
/// Refused with [`Error::InUse`] while a daemon has either database, and where the journal of `from` is not as it was
/// written or `to` holds anything. On failure there is nothing in `to` but empty tables.
pub async fn copy(from: &Path, to: &Settings, now: Timestamp) -> Result<Copied, Error> {
    let source = AtRest::open(from)?;
    let journal = source.journal()?;
    let mut conn = open::connect(to).await?;
    open::migrate(&mut conn).await?;
    let mut target = conn.begin().await?;
    target.execute(open::UNHURRIED).await?;
    member::keep_off(&mut target).await?;
    refuse_full(&mut target).await?;
    let mut rows = 0;
    for table in &TABLES {
        rows += fill(&source, &mut target, table).await?;
    }
    put_head(&source, &mut target).await?;
    for table in &TABLES {
        compare(&source, &mut target, table).await?;
    }
    if audit::heads_of(&mut target).await? != journal {
        return Err(Error::Database("the journals differ after the copy".into()));
    }
    source.mark_as_older(now)?;
    target.commit().await?;
    Ok(Copied { rows, journal })
}

async fn refuse_full(target: &mut PgConnection) -> Result<(), Error> {
    for table in &TABLES {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", table.name);
        if sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut *target)
            .await?
            .try_get(0)?
        {
            let told = format!(
                "the database holds something already, in table {}",
                table.name
            );
            return Err(Error::Database(told.into()));
        }
    }
    Ok(())
}

async fn fill(source: &AtRest, target: &mut PgConnection, table: &Table) -> Result<usize, Error> {
    let (sql, insert) = (table.in_file(), table.insert());
    let mut statement = source.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    loop {
        let mut columns = vec![Vec::with_capacity(BATCH); table.columns.len()];
        let before = count;
        while count < before + BATCH
            && let Some(row) = rows.next()?
        {
            for (place, column) in columns.iter_mut().enumerate() {
                let cell: Value = row.get(place)?;
                if matches!(&cell, Value::Text(text) if text.contains('\0')) {
                    return Err(table.wrong(count, "PostgreSQL keeps no U+0000 in a text"));
                }
                column.push(cell);
            }
            count += 1;
        }
        if count == before {
            return Ok(count);
        }
        let query = sqlx::query(AssertSqlSafe(insert.clone()));
        let columns = table.columns.iter().zip(columns);
        let query = columns.fold(query, |query, ((_, kind), cells)| bind(query, *kind, cells));
        query.execute(&mut *target).await?;
    }
}

type Insert<'q> = Query<'q, Postgres, PgArguments>;

/// Of another kind than the column's nothing can be: the file's tables are strict.
fn bind(query: Insert<'_>, kind: Kind, cells: Vec<Value>) -> Insert<'_> {
    match kind {
        Int | Flag => query.bind(cells.iter().map(number).collect::<Vec<_>>()),
        Text | Names => query.bind(cells.into_iter().map(text).collect::<Vec<_>>()),
        Bytes | Id => query.bind(cells.into_iter().map(bytes).collect::<Vec<_>>()),
    }
}

fn number(cell: &Value) -> Option<i64> {
    if let Value::Integer(number) = cell {
        Some(*number)
    } else {
        None
    }
}

fn text(cell: Value) -> Option<String> {
    if let Value::Text(text) = cell {
        Some(text)
    } else {
        None
    }
}

fn bytes(cell: Value) -> Option<Vec<u8>> {
    if let Value::Blob(bytes) = cell {
        Some(bytes)
    } else {
        None
    }
}

/// The database stays the same one, as far as it came.
async fn put_head(source: &AtRest, target: &mut PgConnection) -> Result<(), Error> {
    let head = source.head()?;
    sqlx::query(PUT_HEAD)
        .bind(head.database)
        .bind(head.regressed_at.map(|at| at.0))
        .execute(&mut *target)
        .await?;
    sqlx::query(PUT_COMMITS)
        .bind(i64::try_from(head.commits).unwrap_or(i64::MAX))
        .execute(&mut *target)
        .await?;
    let last: Option<i64> = source
        .prepare(LAST_EVENT)?
        .query_row([], |row| row.get(0))?;
    if let Some(last) = last {
        sqlx::query(PUT_LAST_EVENT)
            .bind(last)
            .execute(target)
            .await?;
    }
    Ok(())
}

async fn compare(source: &AtRest, target: &mut PgConnection, table: &Table) -> Result<(), Error> {
    let (in_file, on_server) = (table.in_file(), table.on_server());
    let mut statement = source.prepare(&in_file)?;
    let mut expected = statement.query([])?;
    let mut found = sqlx::query(AssertSqlSafe(on_server)).fetch(target);
    let mut count = 0;
    loop {
        let same = match (expected.next()?, found.try_next().await?) {
            (None, None) => return Ok(()),
            (Some(expected), Some(found)) => {
                let mut same = true;
                for (place, (_, kind)) in table.columns.iter().enumerate() {
                    same &= expected.get::<_, Value>(place)? == kind.cell(&found, place)?;
                }
                same
            }
            _ => false,
        };
        if !same {
            return Err(table.wrong(count, "differs after the copy"));
        }
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::store::sqlite::copies::schema;

    /// Kept otherwise there, or of no use without the file.
    const NOT_COPIED: [&str; 4] = [
        "openings.*",
        "head.*",
        "identities.claim_opening",
        "deliveries.claim_opening",
    ];

    #[test]
    fn every_column_of_every_table_is_copied() {
        let mut found: BTreeMap<String, BTreeSet<String>> = schema();
        for name in NOT_COPIED {
            let (table, column) = name.split_once('.').unwrap();
            if column == "*" {
                assert!(found.remove(table).is_some(), "{table}");
            } else {
                assert!(found.get_mut(table).unwrap().remove(column), "{name}");
            }
        }
        let copied = TABLES.iter().map(|table| {
            let columns = table.columns.iter().map(|(name, _)| (*name).to_owned());
            (table.name.to_owned(), columns.collect())
        });
        assert_eq!(found, copied.collect());
    }
}
