-- Lines by arrival. A container's line is kept once, whoever repeats it.
CREATE TABLE lines (
    n INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    level INTEGER NOT NULL,
    event TEXT NOT NULL,
    job TEXT,
    node TEXT NOT NULL,
    container INTEGER,
    message TEXT NOT NULL,
    UNIQUE (source, seq)
) STRICT;
CREATE INDEX lines_of_job ON lines (job, n) WHERE job IS NOT NULL;
CREATE INDEX lines_of_node ON lines (node, n);
-- Who this store is: its numbers mean nothing in another one.
CREATE TABLE about (id TEXT NOT NULL) STRICT;
