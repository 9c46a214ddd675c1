-- Events about runs, stored before anything is done about them. They stay open until every directory of the proposal has
-- processed the run.
CREATE TABLE arrival (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL REFERENCES lease (scope),
    source TEXT NOT NULL,
    source_id TEXT,
    proposal INTEGER,
    run INTEGER,
    data TEXT CHECK (data IN ('raw', 'proc')),
    complete INTEGER NOT NULL,
    forced INTEGER NOT NULL,
    received REAL NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed', 'dropped')),
    detail TEXT NOT NULL,
    changed REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX arrival_once ON arrival (scope, source, source_id);
CREATE INDEX arrival_open ON arrival (scope, id) WHERE state = 'open';
CREATE INDEX arrival_failed ON arrival (scope, id) WHERE state = 'failed';
CREATE INDEX arrival_of_run ON arrival (scope, proposal, run, data, id);

-- What is done or dropped stays so. What has failed can be opened again by a user.
CREATE TRIGGER arrival_moves BEFORE UPDATE OF state ON arrival
WHEN OLD.state IN ('done', 'dropped') OR (OLD.state = 'failed' AND NEW.state NOT IN ('open', 'dropped', 'failed'))
BEGIN
    SELECT RAISE(ABORT, 'amore: illegal move: this event has ended');
END;
