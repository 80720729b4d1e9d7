-- Who may act as one person for a while. A token is shown again by the API, so it is kept; it is found by its hash.
-- Sessions end with the first commit that shows their identity on its way out; the foreign key takes what was made
-- at that very moment.
CREATE TABLE client_sessions (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    token          TEXT    NOT NULL,
    token_hash     BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user_identity  BLOB             REFERENCES identities (id) ON DELETE CASCADE,
    identifier_key TEXT,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    revoked_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX client_sessions_of_identity ON client_sessions (user_identity) WHERE user_identity IS NOT NULL;
CREATE INDEX client_sessions_of_key ON client_sessions (identifier_key) WHERE identifier_key IS NOT NULL;
CREATE INDEX client_sessions_expired ON client_sessions (expires_at);
