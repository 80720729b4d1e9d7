-- What is left of each part number, as JSON.
CREATE TABLE stock (
    manager BLOB NOT NULL PRIMARY KEY CHECK (length(manager) = 16),
    stock   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
