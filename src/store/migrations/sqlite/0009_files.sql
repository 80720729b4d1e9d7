-- Files of people that are being applied: what the rows of each batch stand for (ids, 16 bytes each), and how many of them
-- were refused.
CREATE TABLE file_batches (
    file     BLOB    NOT NULL,
    kept     BLOB    NOT NULL,
    refused  INTEGER NOT NULL CHECK (refused >= 0),
    heard_at INTEGER NOT NULL
) STRICT;
CREATE INDEX file_batches_file ON file_batches (file);
