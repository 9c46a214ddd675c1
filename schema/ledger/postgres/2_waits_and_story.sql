-- What a task waits for, and what happened to a run, told in order.
CREATE TABLE task_wait (
    task text NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    on_task text NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    PRIMARY KEY (task, on_task),
    CHECK (task <> on_task)
);
CREATE INDEX task_wait_on ON task_wait (on_task);

CREATE TABLE event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope text NOT NULL,
    proposal bigint NOT NULL,
    run bigint NOT NULL,
    task text,
    at double precision NOT NULL,
    kind text NOT NULL,
    message text NOT NULL,
    detail json NOT NULL
);
CREATE INDEX event_of_run ON event (scope, proposal, run, id);
CREATE INDEX event_by_time ON event (scope, at);

-- The poll of Slurm asks for these every few seconds, however many have ended.
CREATE INDEX attempt_open ON attempt (scope) WHERE ended IS NULL;

-- Tasks from before this table told no story: one line says so.
INSERT INTO event (scope, proposal, run, task, at, kind, message, detail)
SELECT scope, proposal, run, id, changed, 'migrated', 'its earlier story was not recorded', '{}' FROM task;
