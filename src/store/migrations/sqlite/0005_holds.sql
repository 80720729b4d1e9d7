-- What is held as a whole; scope is a manager's id, or empty for everything; part_number is empty for all of them.
CREATE TABLE holds (
    scope       BLOB    NOT NULL CHECK (length(scope) IN (0, 16)),
    part_number TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    cause       TEXT    NOT NULL,
    PRIMARY KEY (scope, part_number, reason)
) STRICT, WITHOUT ROWID;
-- One row: which database this is, how many transactions wrote to it, and when it was found older than what was done.
CREATE TABLE head (
    only         INTEGER PRIMARY KEY CHECK (only = 1),
    database     BLOB    NOT NULL CHECK (length(database) = 16),
    commits      INTEGER NOT NULL,
    regressed_at INTEGER
) STRICT;
INSERT INTO head VALUES (1, randomblob(16), 0, NULL);
-- The reads among the issues, which go on under a hold, however many issues wait before them.
CREATE INDEX effects_unknown ON effects (manager, not_before)
    WHERE class = 'issue' AND substr(lane, 1, 6) <> '{"Key"';
