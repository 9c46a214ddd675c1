-- Amore's addition to version 4: who may write. One row; the epoch never decreases, even if nobody owns the table.
CREATE TABLE IF NOT EXISTS amore_owner (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    -- NULL from here on: released.
    host TEXT,
    pid INTEGER,
    token TEXT,        -- random: tells a process from a later one with its number
    user TEXT,
    address TEXT,      -- where the owner takes requests
    until REAL         -- seconds since 1970; then others may take over
);
