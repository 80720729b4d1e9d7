-- What the outside is told. created_at grows with every row, whatever the clock does.
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    event_type     TEXT    NOT NULL,
    created_at     INTEGER NOT NULL UNIQUE,
    occurred_at    INTEGER NOT NULL,
    acs_credential BLOB             CHECK (length(acs_credential) = 16),
    acs_user       BLOB             CHECK (length(acs_user) = 16),
    acs_system     BLOB             CHECK (length(acs_system) = 16),
    user_identity  BLOB             CHECK (length(user_identity) = 16),
    device         BLOB             CHECK (length(device) = 16),
    automation     BLOB             CHECK (length(automation) = 16),
    client_session BLOB             CHECK (length(client_session) = 16)
) STRICT;
CREATE INDEX events_of_type ON events (event_type, created_at);
CREATE INDEX events_of_credential ON events (acs_credential, created_at) WHERE acs_credential IS NOT NULL;
CREATE INDEX events_of_identity ON events (user_identity, created_at) WHERE user_identity IS NOT NULL;
CREATE INDEX events_of_device ON events (device, created_at) WHERE device IS NOT NULL;

-- event_types is a JSON list of names, or ["*"].
CREATE TABLE webhooks (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    url           TEXT    NOT NULL,
    event_types   TEXT    NOT NULL,
    secret        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    failing_since INTEGER
) STRICT, WITHOUT ROWID;

-- One row an event that a webhook is still owed. A claim is the token with the opening that made it.
CREATE TABLE deliveries (
    webhook       BLOB    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event         INTEGER NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
    failures      INTEGER NOT NULL CHECK (failures >= 0),
    not_before    INTEGER NOT NULL,
    claim_token   BLOB             CHECK (length(claim_token) = 16),
    claim_opening INTEGER,
    lease_until   INTEGER,
    PRIMARY KEY (webhook, event),
    CHECK ((claim_token IS NULL) = (claim_opening IS NULL)),
    CHECK ((claim_token IS NULL) = (lease_until IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (webhook, not_before, event);
CREATE INDEX deliveries_of_event ON deliveries (event);
CREATE INDEX deliveries_claimed ON deliveries (webhook, claim_token) WHERE claim_token IS NOT NULL;
