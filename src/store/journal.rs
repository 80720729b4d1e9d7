//! The chain that an identity's journal forms: each row's hash covers the row and the hash before it.
//!
//! Imports core only. Promises: a row that was changed, put in, taken out or moved breaks the chain, in
//! every store alike. Rows cut off the end do not; that is what heads kept elsewhere are for.

use aws_lc_rs::digest::{Context, SHA256};

use super::JournalRow;
use crate::core::change::Change;
use crate::core::ids::{IdentityId, Timestamp};

/// SHA-256.
pub type Hash = [u8; 32];

/// What the first row of every chain follows.
pub const ROOT: Hash = [0; 32];

/// The encoding's name and version; part of every hash. Another encoding needs another name.
const ENCODING: &[u8] = b"origo-adapter journal 1";

/// Where a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal of identity {identity} was tampered with at row {seq}")]
pub struct Broken {
    /// Whose.
    pub identity: IdentityId,
    /// The first row that does not follow from those before it.
    pub seq: u64,
}

/// The hash of a row that follows a row with hash `previous`.
#[must_use]
pub fn hash(
    previous: &Hash,
    identity: IdentityId,
    seq: u64,
    at: Timestamp,
    cause: &str,
    change: &Change,
) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(ENCODING);
    context.update(previous);
    context.update(identity.0.as_bytes());
    context.update(&seq.to_be_bytes());
    context.update(&at.0.to_be_bytes());
    text(&mut context, Some(cause));
    text(&mut context, Some(&change.entity));
    text(&mut context, change.from.as_deref());
    text(&mut context, change.to.as_deref());
    let mut hash = ROOT;
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Checks a whole journal, oldest row first, and returns its head: the last row's hash.
pub fn verify_journal(identity: IdentityId, rows: &[JournalRow]) -> Result<Hash, Broken> {
    let mut head = ROOT;
    for (row, seq) in rows.iter().zip(1..) {
        let expected = hash(&head, identity, seq, row.at, &row.cause, &row.change);
        if row.seq != seq || row.hash != expected {
            return Err(Broken { identity, seq });
        }
        head = expected;
    }
    Ok(head)
}

/// What the hash over heads is about, and its version.
const HEADS: &[u8] = b"origo-adapter heads 1";

/// The ends of all journals, on their way into one hash. Kept elsewhere it shows that rows were cut off an end.
pub struct Heads {
    context: Context,
    identities: u64,
}

/// The ends of all journals in one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summed {
    /// How many have a journal, those that are gone included.
    pub identities: u64,
    /// Over all of their heads.
    pub hash: Hash,
}

impl Default for Heads {
    fn default() -> Self {
        let mut context = Context::new(&SHA256);
        context.update(HEADS);
        Self {
            context,
            identities: 0,
        }
    }
}

impl Heads {
    /// The next head, in descending order of ids.
    pub fn add(&mut self, identity: IdentityId, seq: u64, hash: &Hash) {
        self.identities += 1;
        self.context.update(identity.0.as_bytes());
        self.context.update(&seq.to_be_bytes());
        self.context.update(hash);
    }

    /// All of them.
    #[must_use]
    pub fn sum(self) -> Summed {
        let mut hash = ROOT;
        hash.copy_from_slice(self.context.finish().as_ref());
        Summed {
            identities: self.identities,
            hash,
        }
    }
}

/// What became of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// Every row follows from those before it.
    Whole {
        /// So many rows.
        rows: u64,
        /// The heads of all journals.
        heads: Summed,
    },
    /// The first row that does not, in the order of ids.
    Broken(Broken),
}

/// Checks all journals, a row at a time, in the order of identities and rows.
#[derive(Debug, Default)]
pub(super) struct Walk {
    last: Option<(IdentityId, u64, Hash)>,
    /// So many were checked.
    pub(super) rows: u64,
}

impl Walk {
    /// The number that the next row of this identity must have.
    pub(super) fn next(&self, identity: IdentityId) -> u64 {
        self.end(identity).0 + 1
    }

    /// Refuses a row that does not follow from the one before it.
    pub(super) fn take(&mut self, identity: IdentityId, row: &JournalRow) -> Result<(), Broken> {
        let (before, head) = self.end(identity);
        let seq = before + 1;
        let expected = hash(&head, identity, seq, row.at, &row.cause, &row.change);
        if row.seq != seq || row.hash != expected {
            return Err(Broken { identity, seq });
        }
        self.last = Some((identity, seq, expected));
        self.rows += 1;
        Ok(())
    }

    fn end(&self, identity: IdentityId) -> (u64, Hash) {
        match self.last {
            Some((whose, seq, head)) if whose == identity => (seq, head),
            Some(_) | None => (0, ROOT),
        }
    }
}

/// As logs and commands show it.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    let mut text = String::with_capacity(2 * hash.len());
    for byte in hash {
        for digit in [byte >> 4, byte & 0xF] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('?'));
        }
    }
    text
}

/// Absent, or its length and itself: no two lists of texts have the same bytes.
fn text(context: &mut Context, text: Option<&str>) {
    match text {
        None => context.update(&[0]),
        Some(text) => {
            context.update(&[1]);
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_encoding_is_forever() {
        let change = Change {
            entity: "phone/1".into(),
            from: None,
            to: Some("active".into()),
        };
        let identity = IdentityId(Uuid::from_u128(7));
        let hash = hash(&ROOT, identity, 1, Timestamp(5), "event", &change);
        // Computed apart from this code, with Python's hashlib.
        let expected = 0x4b4e_1afb_5b43_d698_2b39_37a4_5942_1851_u128;
        assert_eq!(
            u128::from_be_bytes(hash[..16].try_into().unwrap()),
            expected
        );
    }

    #[test]
    fn a_walk_knows_the_number_of_the_next_row() {
        let (one, other) = (
            IdentityId(Uuid::from_u128(1)),
            IdentityId(Uuid::from_u128(2)),
        );
        let mut walk = Walk::default();
        let mut head = ROOT;
        for seq in 1..=3 {
            assert_eq!(walk.next(one), seq);
            let change = Change {
                entity: "phone/1".into(),
                from: None,
                to: None,
            };
            head = hash(&head, one, seq, Timestamp(5), "event", &change);
            let row = JournalRow {
                seq,
                at: Timestamp(5),
                cause: "event".into(),
                change,
                hash: head,
            };
            walk.take(one, &row).unwrap();
        }
        assert_eq!((walk.next(one), walk.next(other)), (4, 1));
        assert_eq!(walk.rows, 3);
    }

    /// Whoever keeps one elsewhere computes it like this.
    #[test]
    fn one_hash_covers_all_heads() {
        let ends = [(2, 7, [3; 32]), (1, 5, [4; 32])];
        let mut heads = Heads::default();
        let mut bytes = b"origo-adapter heads 1".to_vec();
        for (who, seq, hash) in ends {
            let who = IdentityId(Uuid::from_u128(who));
            heads.add(who, seq, &hash);
            bytes.extend_from_slice(who.0.as_bytes());
            bytes.extend_from_slice(&seq.to_be_bytes());
            bytes.extend_from_slice(&hash);
        }
        let summed = heads.sum();
        assert_eq!(summed.identities, 2);
        let expected = aws_lc_rs::digest::digest(&SHA256, &bytes);
        assert_eq!(summed.hash, expected.as_ref());
    }

    #[test]
    fn a_hash_is_shown_in_hexadecimal() {
        let mut hash = ROOT;
        hash[..3].copy_from_slice(&[0x00, 0x9f, 0xa1]);
        assert_eq!(hex(&hash), format!("009fa1{}", "0".repeat(58)));
    }

    #[test]
    fn texts_do_not_run_together() {
        let change = |entity: &str, from: &str| Change {
            entity: entity.into(),
            from: Some(from.into()),
            to: None,
        };
        let identity = IdentityId(Uuid::from_u128(7));
        let hash = |change| hash(&ROOT, identity, 1, Timestamp(5), "event", &change);
        assert_ne!(hash(change("ab", "c")), hash(change("a", "bc")));
    }
}
