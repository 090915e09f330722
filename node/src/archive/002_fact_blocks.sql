-- Facts in blocks, each of some that follow each other without a hole; no fact is in two. `facts` keeps what earlier versions wrote.
CREATE TABLE fact_blocks (
    last INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    -- The wall time of the first; from block to block it only rises.
    from_ms INTEGER NOT NULL,
    facts BLOB NOT NULL
);
CREATE INDEX fact_blocks_by_time ON fact_blocks (from_ms);
-- Which facts are about a job, but for those whose moment the job itself tells.
CREATE TABLE fact_marks (
    job BLOB NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
