-- Who may write: one row for each proposal's database directory. The epoch is kept when the lease is released.
CREATE TABLE lease (
    scope TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    holder TEXT,
    until REAL,
    CHECK ((holder IS NULL) = (until IS NULL))
) STRICT, WITHOUT ROWID;

-- The one host that may have this file open: SQLite's locks do not reach across hosts on every file system.
CREATE TABLE home (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    host TEXT NOT NULL,
    since REAL NOT NULL
) STRICT;

CREATE TABLE fact (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL REFERENCES lease (scope),
    created REAL NOT NULL,
    by_user TEXT NOT NULL,
    origin TEXT NOT NULL,
    detail TEXT NOT NULL,
    finished REAL
) STRICT;
CREATE INDEX request_by_time ON request (scope, created);
CREATE INDEX request_open ON request (scope, created) WHERE finished IS NULL;

CREATE TABLE phase (name TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO phase VALUES ('waiting'), ('ready'), ('submitting'), ('submitted'), ('running'), ('ended');

-- Which phase may follow which. A phase may follow itself when only the facts change; nothing follows 'ended'.
CREATE TABLE task_move (
    from_phase TEXT NOT NULL REFERENCES phase (name),
    to_phase TEXT NOT NULL REFERENCES phase (name),
    PRIMARY KEY (from_phase, to_phase)
) STRICT, WITHOUT ROWID;
INSERT INTO task_move VALUES
    ('waiting', 'waiting'), ('waiting', 'ready'), ('waiting', 'ended'),
    ('ready', 'ready'), ('ready', 'submitting'), ('ready', 'running'), ('ready', 'ended'),
    ('submitting', 'submitting'), ('submitting', 'submitted'), ('submitting', 'running'), ('submitting', 'ready'),
    ('submitting', 'ended'),
    ('submitted', 'submitted'), ('submitted', 'running'), ('submitted', 'ready'), ('submitted', 'ended'),
    ('running', 'running'), ('running', 'submitted'), ('running', 'ready'), ('running', 'ended');

CREATE TABLE task (
    id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL REFERENCES lease (scope),
    request TEXT NOT NULL REFERENCES request (id) ON DELETE CASCADE,
    proposal INTEGER NOT NULL,
    run INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    place TEXT NOT NULL CHECK (place IN ('local', 'cluster')),
    phase TEXT NOT NULL REFERENCES phase (name),
    facts TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    epoch INTEGER NOT NULL,
    spec TEXT NOT NULL
) STRICT;
CREATE INDEX task_of_request ON task (request);
CREATE INDEX task_of_run ON task (proposal, run, scope, created);
-- Those that have ended are many and the others few. No other index begins with the scope, so that a planner without
-- statistics has no choice.
CREATE INDEX task_ended ON task (scope) WHERE phase = 'ended';
CREATE INDEX task_open ON task (scope, priority DESC, created, id) WHERE phase <> 'ended';

CREATE TRIGGER task_starts BEFORE INSERT ON task
WHEN NEW.phase NOT IN ('waiting', 'ready')
BEGIN
    SELECT RAISE(ABORT, 'amore: illegal move: a new task is waiting or ready');
END;

CREATE TRIGGER task_moves BEFORE UPDATE ON task
WHEN NOT EXISTS (SELECT 1 FROM task_move WHERE from_phase = OLD.phase AND to_phase = NEW.phase)
BEGIN
    SELECT RAISE(ABORT, 'amore: illegal move: no such row in task_move');
END;

CREATE TRIGGER task_stays_itself BEFORE UPDATE OF id, scope, request, proposal, run, created ON task
WHEN (OLD.id, OLD.scope, OLD.request, OLD.proposal, OLD.run, OLD.created)
    IS NOT (NEW.id, NEW.scope, NEW.request, NEW.proposal, NEW.run, NEW.created)
BEGIN
    SELECT RAISE(ABORT, 'amore: illegal move: what a task is never changes');
END;

-- The writer's epoch must be the present one, so that a coordinator that slept past its term is refused.
CREATE TRIGGER task_written_first BEFORE INSERT ON task
WHEN NEW.epoch IS NOT (SELECT epoch FROM lease WHERE scope = NEW.scope)
BEGIN
    SELECT RAISE(ABORT, 'amore: deposed: the epoch is not that of the lease');
END;

CREATE TRIGGER task_written BEFORE UPDATE ON task
WHEN NEW.epoch IS NOT (SELECT epoch FROM lease WHERE scope = NEW.scope)
BEGIN
    SELECT RAISE(ABORT, 'amore: deposed: the epoch is not that of the lease');
END;

CREATE TRIGGER lease_rises BEFORE UPDATE OF epoch ON lease
WHEN NEW.epoch < OLD.epoch
BEGIN
    SELECT RAISE(ABORT, 'amore: deposed: an epoch is never used again');
END;

CREATE TABLE attempt (
    task TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    scope TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    cluster TEXT NOT NULL,
    job_id INTEGER,
    array_task INTEGER,
    slurm_state TEXT,
    slurm_reason TEXT,
    partition TEXT,
    reservation TEXT,
    nodes TEXT,
    asked TEXT NOT NULL,
    submitted REAL,
    started REAL,
    ended REAL,
    exit_code INTEGER,
    outcome TEXT,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_of_job ON attempt (cluster, job_id, array_task);
