//! The whole journal: checked row by row, and its heads in one hash.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::cells::Cells;
use super::open;
use crate::core::change::Change;
use crate::core::ids::{IdentityId, Timestamp};
use crate::store::journal::{Audit, Hash, Heads, Summed, Walk};
use crate::store::{Error, JournalRow};

const ROWS: &str = "\
    SELECT identity, seq, at, cause, entity, from_state, to_state, hash FROM journal
    ORDER BY identity, seq";
// One seek down the index for each identity, however long its journal is.
const NEXT_HEAD: &str = "\
    SELECT identity, seq, hash FROM journal WHERE identity < ?1
    ORDER BY identity DESC, seq DESC LIMIT 1";

/// Checks the journal of the database at `path` as of one moment, a row at a time; the daemon may run.
pub fn verify(path: &Path) -> Result<Audit, Error> {
    let conn = open::reader(path)?;
    open::refuse_others(&conn)?;
    open::refuse_newer(&conn)?;
    let moment = Transaction::new_unchecked(&conn, TransactionBehavior::Deferred)?;
    let mut statement = moment.prepare(ROWS)?;
    let mut found = statement.query([])?;
    let mut walk = Walk::default();
    while let Some(row) = found.next()? {
        let identity = IdentityId(Cells::new(row, "journal", "?").get(0)?);
        let cells = Cells::new(
            row,
            "journal",
            format!("{identity}/{}", walk.next(identity)),
        );
        let row = JournalRow {
            seq: cells.get_u64(1)?,
            at: Timestamp(cells.get(2)?),
            cause: cells.get(3)?,
            change: Change {
                entity: cells.get(4)?,
                from: cells.get(5)?,
                to: cells.get(6)?,
            },
            hash: cells.get(7)?,
        };
        if let Err(broken) = walk.take(identity, &row) {
            return Ok(Audit::Broken(broken));
        }
    }
    let heads = heads(&moment)?;
    Ok(Audit::Whole {
        rows: walk.rows,
        heads,
    })
}

/// The heads of all journals as of one moment.
pub(super) fn heads_of(conn: &Connection) -> Result<Summed, Error> {
    let moment = Transaction::new_unchecked(conn, TransactionBehavior::Deferred)?;
    heads(&moment)
}

fn heads(conn: &Connection) -> Result<Summed, Error> {
    let mut heads = Heads::default();
    let mut next = conn.prepare(NEXT_HEAD)?;
    // Longer than any id, so after all of them.
    let mut below = vec![u8::MAX; 17];
    loop {
        let mut rows = next.query(params![below])?;
        let Some(row) = rows.next()? else {
            return Ok(heads.sum());
        };
        let identity = IdentityId(Cells::new(row, "journal", "?").get(0)?);
        let cells = Cells::new(row, "journal", identity);
        heads.add(identity, cells.get_u64(1)?, &cells.get::<Hash>(2)?);
        below = identity.0.as_bytes().to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_head_costs_a_walk_through_its_journal() {
        let conn = open::in_memory().unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {NEXT_HEAD}");
        let plan: String = conn
            .query_row(&sql, params![vec![0_u8; 16]], |row| row.get(3))
            .unwrap();
        assert!(
            plan.contains("SEARCH journal USING INDEX journal_seq (identity<?)"),
            "{plan}"
        );
    }
}
