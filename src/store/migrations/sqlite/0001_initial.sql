-- Ids are 16 bytes, times are milliseconds since the epoch.

-- One row: how often the database was opened. Claims bear the number of the opening that made them.
CREATE TABLE openings (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO openings VALUES (1, 0);

CREATE TABLE identities (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    revision      INTEGER NOT NULL CHECK (revision > 0),
    state         TEXT    NOT NULL,
    claim_token   BLOB             CHECK (length(claim_token) = 16),
    claim_opening INTEGER,
    lease_until   INTEGER,
    CHECK ((claim_token IS NULL) = (claim_opening IS NULL)),
    CHECK ((claim_token IS NULL) = (lease_until IS NULL))
) STRICT;
CREATE INDEX identities_claimed ON identities (id) WHERE claim_token IS NOT NULL;

-- lane and effect are JSON; manager is NULL for the timer.
CREATE TABLE effects (
    identity   BLOB    NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    lane       TEXT    NOT NULL,
    manager    BLOB             CHECK (length(manager) = 16),
    class      TEXT    NOT NULL,
    not_before INTEGER NOT NULL,
    effect     TEXT    NOT NULL,
    PRIMARY KEY (identity, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX effects_due ON effects (manager, class, not_before);

CREATE TABLE entities (
    kind       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    identity   BLOB    NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    acs_system TEXT,
    acs_user   TEXT,
    parent     TEXT,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
-- Each ends in the order of lists: a page is read off the index, whatever the filter.
CREATE INDEX entities_newest ON entities (kind, created_at DESC, id DESC);
CREATE INDEX entities_of_identity ON entities (identity, kind, created_at DESC, id DESC);
CREATE INDEX entities_of_system ON entities (acs_system, kind, created_at DESC, id DESC) WHERE acs_system IS NOT NULL;
CREATE INDEX entities_of_acs_user ON entities (acs_user, kind, created_at DESC, id DESC) WHERE acs_user IS NOT NULL;
CREATE INDEX entities_of_parent ON entities (parent, kind, created_at DESC, id DESC) WHERE parent IS NOT NULL;

-- One row a place in a window.
CREATE TABLE slots (
    key      TEXT    NOT NULL,
    token    BLOB    NOT NULL CHECK (length(token) = 16),
    frees_at INTEGER NOT NULL,
    PRIMARY KEY (key, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_freed ON slots (key, frees_at);
CREATE INDEX slots_token ON slots (token);

CREATE TABLE feeds (
    manager BLOB NOT NULL PRIMARY KEY CHECK (length(manager) = 16),
    feed    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Outlives its identity. Each hash covers the row and the hash before it.
CREATE TABLE journal (
    identity   BLOB    NOT NULL CHECK (length(identity) = 16),
    seq        INTEGER NOT NULL CHECK (seq > 0),
    at         INTEGER NOT NULL,
    cause      TEXT    NOT NULL,
    entity     TEXT    NOT NULL,
    from_state TEXT,
    to_state   TEXT,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (identity, seq)
) STRICT, WITHOUT ROWID;
