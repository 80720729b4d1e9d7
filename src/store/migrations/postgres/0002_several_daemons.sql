-- Which server and history the daemons agreed to work on; another one may lack what came last.
ALTER TABLE head ADD COLUMN lineage text;

-- The daemons. heard_at: when one was last heard of, by the database's clock; ahead: so much was its common time ahead of that.
CREATE TABLE members (
    daemon   uuid   PRIMARY KEY,
    heard_at bigint NOT NULL,
    ahead    bigint NOT NULL
);

-- Which daemon reads a credential manager's feed and stock, and until when.
CREATE TABLE readers (
    manager     uuid   PRIMARY KEY,
    daemon      uuid   NOT NULL,
    lease_until bigint NOT NULL
);

-- Files of people that are being applied: what the rows of each batch stand for (ids, 16 bytes each), and how many of them
-- were refused.
CREATE TABLE file_batches (
    file     uuid   NOT NULL,
    kept     bytea  NOT NULL,
    refused  bigint NOT NULL CHECK (refused >= 0),
    heard_at bigint NOT NULL
);
CREATE INDEX file_batches_file ON file_batches (file);
