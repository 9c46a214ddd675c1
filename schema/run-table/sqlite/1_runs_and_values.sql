-- To version 1: runs, one row per run and variable, settings, and what the variables are.
CREATE TABLE run_info (proposal, run, start_time, added_at);
CREATE UNIQUE INDEX proposal_run ON run_info (proposal, run);

CREATE TABLE run_variables (
    proposal, run, name, version,
    value, timestamp, max_diff, provenance, summary_type, summary_method
);
CREATE UNIQUE INDEX variable_version ON run_variables (proposal, run, name, version);

CREATE TABLE metameta (key PRIMARY KEY NOT NULL, value);

-- type is NULL for variables of the context file; otherwise users edit the variable by hand.
CREATE TABLE variables (
    name TEXT PRIMARY KEY NOT NULL,
    type TEXT,
    title TEXT,
    description TEXT,
    attributes TEXT
);

CREATE TABLE time_comments (timestamp, comment);
