CREATE TABLE about (
    cluster BLOB NOT NULL,
    -- Everything up to this entry of the log is in here, apart from what is missing.
    applied INTEGER NOT NULL DEFAULT 0,
    -- Numbers of the newest end and of the newest fact that are known of.
    last_end INTEGER NOT NULL DEFAULT 0,
    last_fact INTEGER NOT NULL DEFAULT 0,
    -- Ends up to this number are past their retention; facts up to this number went with them.
    forgotten INTEGER NOT NULL DEFAULT 0,
    forgotten_facts INTEGER NOT NULL DEFAULT 0
);
-- Ended jobs, by their place in the order of acceptance.
CREATE TABLE jobs (
    ord INTEGER PRIMARY KEY,
    ended INTEGER NOT NULL,
    id BLOB NOT NULL,
    state INTEGER NOT NULL,
    class TEXT NOT NULL,
    submitter TEXT NOT NULL,
    -- What `q` looks at, in small letters.
    search TEXT NOT NULL,
    -- The job without what is long.
    head BLOB NOT NULL
);
CREATE INDEX jobs_by_end ON jobs (ended);
CREATE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_state ON jobs (state, ord);
CREATE INDEX jobs_by_class ON jobs (class, ord);
CREATE INDEX jobs_by_submitter ON jobs (submitter, ord);
-- What is long of a job: payload, standard input, output, standard error.
CREATE TABLE bodies (ord INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    ord INTEGER NOT NULL,
    PRIMARY KEY (name, value, ord)
) WITHOUT ROWID;
CREATE INDEX labels_by_job ON labels (ord);
-- Facts of the ledger by their numbers.
CREATE TABLE facts (number INTEGER PRIMARY KEY, job BLOB, fact BLOB NOT NULL);
CREATE INDEX facts_by_job ON facts (job, number) WHERE job IS NOT NULL;
-- Numbers of ends (kind 0) and of facts (kind 1) that are not in here although the ledger has gone past them.
CREATE TABLE missing (
    kind INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (kind, first)
) WITHOUT ROWID;
