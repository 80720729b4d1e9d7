-- Times of slots are no longer the wall clock's, which may be set, but the time since boot plus the epoch of that boot.
CREATE TABLE window_epochs (
    boot  BLOB    NOT NULL PRIMARY KEY CHECK (length(boot) = 16),
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE slots ADD COLUMN taken_at INTEGER NOT NULL DEFAULT 0;

-- Events seen within the overlap before a feed's cursor.
CREATE TABLE seen_events (
    manager BLOB    NOT NULL CHECK (length(manager) = 16),
    id      TEXT    NOT NULL,
    time    INTEGER NOT NULL,
    PRIMARY KEY (manager, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_events_oldest ON seen_events (manager, time);
INSERT OR IGNORE INTO seen_events
    SELECT manager, value ->> 0, value ->> 1 FROM feeds, json_each(feed, '$.seen');
UPDATE feeds SET feed = json_remove(feed, '$.seen');

-- Where an effect stands in line: since it is owed, or when it is due if that is later. Apart from `not_before`, so that
-- a clock that is set back makes nothing wait that was due.
ALTER TABLE effects ADD COLUMN line INTEGER NOT NULL DEFAULT 0;
UPDATE effects SET line = not_before;
CREATE INDEX effects_line ON effects (manager, class, line);
