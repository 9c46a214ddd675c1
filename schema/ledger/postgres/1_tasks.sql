-- Who may write: one row for each proposal's database directory. The epoch is kept when the lease is released.
CREATE TABLE lease (
    scope text NOT NULL PRIMARY KEY,
    epoch bigint NOT NULL,
    holder json,
    until double precision,
    CHECK ((holder IS NULL) = (until IS NULL))
);

CREATE TABLE fact (
    scope text NOT NULL,
    key text NOT NULL,
    value json NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE TABLE request (
    id text NOT NULL PRIMARY KEY,
    scope text NOT NULL REFERENCES lease (scope),
    created double precision NOT NULL,
    by_user text NOT NULL,
    origin text NOT NULL,
    detail json NOT NULL,
    finished double precision
);
CREATE INDEX request_by_time ON request (scope, created);
CREATE INDEX request_open ON request (scope, created) WHERE finished IS NULL;

CREATE TABLE phase (name TEXT NOT NULL PRIMARY KEY);
INSERT INTO phase VALUES ('waiting'), ('ready'), ('submitting'), ('submitted'), ('running'), ('ended');

-- Which phase may follow which. A phase may follow itself when only the facts change; nothing follows 'ended'.
CREATE TABLE task_move (
    from_phase text NOT NULL REFERENCES phase (name),
    to_phase text NOT NULL REFERENCES phase (name),
    PRIMARY KEY (from_phase, to_phase)
);
INSERT INTO task_move VALUES
    ('waiting', 'waiting'), ('waiting', 'ready'), ('waiting', 'ended'),
    ('ready', 'ready'), ('ready', 'submitting'), ('ready', 'running'), ('ready', 'ended'),
    ('submitting', 'submitting'), ('submitting', 'submitted'), ('submitting', 'running'), ('submitting', 'ready'),
    ('submitting', 'ended'),
    ('submitted', 'submitted'), ('submitted', 'running'), ('submitted', 'ready'), ('submitted', 'ended'),
    ('running', 'running'), ('running', 'submitted'), ('running', 'ready'), ('running', 'ended');

CREATE TABLE task (
    id text NOT NULL PRIMARY KEY,
    scope text NOT NULL REFERENCES lease (scope),
    request text NOT NULL REFERENCES request (id) ON DELETE CASCADE,
    proposal bigint NOT NULL,
    run bigint NOT NULL,
    priority bigint NOT NULL,
    place text NOT NULL CHECK (place IN ('local', 'cluster')),
    phase text NOT NULL REFERENCES phase (name),
    facts json NOT NULL,
    attempt bigint NOT NULL,
    created double precision NOT NULL,
    changed double precision NOT NULL,
    epoch bigint NOT NULL,
    spec json NOT NULL
);
CREATE INDEX task_of_request ON task (request);
CREATE INDEX task_of_run ON task (proposal, run, scope, created);
-- Those that have ended are many and the others few. No other index begins with the scope, so that a planner without
-- statistics has no choice.
CREATE INDEX task_ended ON task (scope) WHERE phase = 'ended';
CREATE INDEX task_open ON task (scope, priority DESC, created, id) WHERE phase <> 'ended';
-- Tasks leave that index when they end: sweep it after some thousand of them, not after a fifth of the table.
ALTER TABLE task SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.01);

CREATE FUNCTION task_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    present bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.phase NOT IN ('waiting', 'ready') THEN
            RAISE EXCEPTION 'amore: illegal move: a new task is waiting or ready' USING ERRCODE = 'AM002';
        END IF;
    ELSE
        IF NOT EXISTS (SELECT 1 FROM task_move WHERE from_phase = OLD.phase AND to_phase = NEW.phase) THEN
            RAISE EXCEPTION 'amore: illegal move: no such row in task_move' USING ERRCODE = 'AM002';
        END IF;
        IF (OLD.id, OLD.scope, OLD.request, OLD.proposal, OLD.run, OLD.created)
            IS DISTINCT FROM (NEW.id, NEW.scope, NEW.request, NEW.proposal, NEW.run, NEW.created) THEN
            RAISE EXCEPTION 'amore: illegal move: what a task is never changes' USING ERRCODE = 'AM002';
        END IF;
    END IF;
    -- The writer's epoch must be the present one, so that a coordinator that slept past its term is refused.
    -- The lock holds off a successor until this transaction has ended.
    SELECT epoch INTO present FROM lease WHERE scope = NEW.scope FOR SHARE;
    IF NEW.epoch IS DISTINCT FROM present THEN
        RAISE EXCEPTION 'amore: deposed: the epoch is not that of the lease' USING ERRCODE = 'AM001';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER task_check BEFORE INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION task_check();

CREATE FUNCTION lease_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'amore: deposed: an epoch is never used again' USING ERRCODE = 'AM001';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER lease_rises BEFORE UPDATE ON lease FOR EACH ROW EXECUTE FUNCTION lease_rises();

CREATE TABLE attempt (
    task text NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    number bigint NOT NULL,
    scope text NOT NULL,
    token text NOT NULL UNIQUE,
    cluster text NOT NULL,
    job_id bigint,
    array_task bigint,
    slurm_state text,
    slurm_reason text,
    partition text,
    reservation text,
    nodes text,
    asked json NOT NULL,
    submitted double precision,
    started double precision,
    ended double precision,
    exit_code bigint,
    outcome text,
    PRIMARY KEY (task, number)
);
CREATE INDEX attempt_of_job ON attempt (cluster, job_id, array_task);
