-- Functions: their code, what was run, what is to be run.

-- Zip files of functions by their SHA-256. They never change: versions of one function, and equal ones, share them.
CREATE TABLE function_code (
  sha256        BYTEA PRIMARY KEY,
  created_at_ms BIGINT NOT NULL,
  bytes         BYTEA NOT NULL
);

-- ------------------------------------------------------------------------------------------------ invocations

-- One run of a function. `id` is a UUID of version 7: its order is that of time. `outcome` is null while it runs. `record` is
-- JSON; `log` comes last, so that a list need not read over it. Written in the commit of the attempt that asked for it, or by
-- itself.
CREATE TABLE invocation (
  id            BYTEA PRIMARY KEY,
  function      TEXT NOT NULL,
  version       TEXT,
  seq           BIGINT,
  target_id     BIGINT,
  started_at_ms BIGINT NOT NULL,
  duration_us   BIGINT NOT NULL,
  outcome       TEXT,
  node_id       BIGINT NOT NULL,
  record        TEXT NOT NULL,
  log           TEXT NOT NULL
);
CREATE INDEX invocation_of_function ON invocation (function, id);
CREATE INDEX invocation_of_delivery ON invocation (seq, target_id, id) WHERE seq IS NOT NULL;
CREATE INDEX invocation_failed ON invocation (id) WHERE outcome <> 'succeeded';
CREATE INDEX invocation_running ON invocation (id) WHERE outcome IS NULL;

-- ------------------------------------------------------------------------------------------------ calls

-- Invocations that were asked for by requests that did not wait. A claim moves `due_at_ms` to the end of its lease. `failures`
-- counts users' errors, `attempts` everything; `caller` is who asked.
CREATE TABLE function_call (
  id            BYTEA PRIMARY KEY,
  function      TEXT NOT NULL,
  qualifier     TEXT NOT NULL,
  caller        TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  due_at_ms     BIGINT NOT NULL,
  attempts      BIGINT NOT NULL,
  failures      BIGINT NOT NULL,
  owner         BIGINT,
  event         TEXT NOT NULL
);
CREATE INDEX function_call_by_due ON function_call (due_at_ms, id);
CREATE INDEX function_call_owned ON function_call (owner) WHERE owner IS NOT NULL;
