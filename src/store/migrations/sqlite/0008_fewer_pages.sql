-- Ids are random, so whatever is kept in their order is one more page to write for each row. What has rows of some length
-- is kept in the order of writing instead, and the order of ids in an index of little more than ids. Nobody has so many
-- keys or phones that they must be found in the order of lists.
CREATE TABLE entities_as_written (
    kind       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    identity   BLOB    NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    acs_system TEXT,
    acs_user   TEXT,
    parent     TEXT
) STRICT;
INSERT INTO entities_as_written SELECT kind, id, identity, created_at, acs_system, acs_user, parent FROM entities;
DROP TABLE entities;
ALTER TABLE entities_as_written RENAME TO entities;
CREATE UNIQUE INDEX entities_id ON entities (kind, id);
-- These two end in the order of lists: a page is read off the index.
CREATE INDEX entities_newest ON entities (kind, created_at DESC, id DESC);
CREATE INDEX entities_of_system ON entities (acs_system, kind, created_at DESC, id DESC) WHERE acs_system IS NOT NULL;
CREATE INDEX entities_of_identity ON entities (identity);
CREATE INDEX entities_of_acs_user ON entities (acs_user) WHERE acs_user IS NOT NULL;
CREATE INDEX entities_of_parent ON entities (parent) WHERE parent IS NOT NULL;

CREATE TABLE journal_as_written (
    identity   BLOB    NOT NULL CHECK (length(identity) = 16),
    seq        INTEGER NOT NULL CHECK (seq > 0),
    at         INTEGER NOT NULL,
    cause      TEXT    NOT NULL,
    entity     TEXT    NOT NULL,
    from_state TEXT,
    to_state   TEXT,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO journal_as_written SELECT identity, seq, at, cause, entity, from_state, to_state, hash FROM journal;
DROP TABLE journal;
ALTER TABLE journal_as_written RENAME TO journal;
CREATE UNIQUE INDEX journal_seq ON journal (identity, seq);
