-- Ids are 16 hex digits, as everywhere else: readable, and in the order of the number.
CREATE TABLE templates (
    id              TEXT PRIMARY KEY NOT NULL,
    text            TEXT NOT NULL,
    class           TEXT NOT NULL CHECK (class IN ('normal', 'anomalous', 'exception')),
    score           REAL NOT NULL,
    similarity      REAL,
    nearest         TEXT,
    seen            INTEGER NOT NULL,
    first_seen      INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    flagged_by_rule INTEGER NOT NULL,
    expires         INTEGER
) STRICT;

CREATE INDEX templates_by_last_seen ON templates (last_seen DESC, id);

-- Vectors are little-endian 32-bit floats.
CREATE TABLE known (
    collection TEXT NOT NULL,
    id         TEXT NOT NULL,
    text       TEXT NOT NULL,
    vector     BLOB NOT NULL,
    PRIMARY KEY (collection, id)
) STRICT;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;
