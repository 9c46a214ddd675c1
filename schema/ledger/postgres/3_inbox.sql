-- Events about runs, stored before anything is done about them. They stay open until every directory of the proposal has
-- processed the run.
CREATE TABLE arrival (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope text NOT NULL REFERENCES lease (scope),
    source text NOT NULL,
    source_id text,
    proposal bigint,
    run bigint,
    data text CHECK (data IN ('raw', 'proc')),
    complete bigint NOT NULL,
    forced bigint NOT NULL,
    received double precision NOT NULL,
    payload text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'done', 'failed', 'dropped')),
    detail json NOT NULL,
    changed double precision NOT NULL
);
CREATE UNIQUE INDEX arrival_once ON arrival (scope, source, source_id);
CREATE INDEX arrival_open ON arrival (scope, id) WHERE state = 'open';
CREATE INDEX arrival_failed ON arrival (scope, id) WHERE state = 'failed';
CREATE INDEX arrival_of_run ON arrival (scope, proposal, run, data, id);
ALTER TABLE arrival SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.01);

-- What is done or dropped stays so. What has failed can be opened again by a user.
CREATE FUNCTION arrival_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('done', 'dropped')
        OR (OLD.state = 'failed' AND NEW.state NOT IN ('open', 'dropped', 'failed')) THEN
        RAISE EXCEPTION 'amore: illegal move: this event has ended';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER arrival_moves BEFORE UPDATE OF state ON arrival FOR EACH ROW EXECUTE FUNCTION arrival_moves();
