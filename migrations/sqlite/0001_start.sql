-- The first schema. Times are milliseconds since 1970 (UTC). `seq` is an event's key: milliseconds, node and counter
-- in 63 bits, so that time ranges, paging, retention and recovery are ranges of a primary key.
-- Why each table has the key it has: docs/decisions/0003-durable-engine.md.

-- ------------------------------------------------------------------------------------------------ the hot path

-- One row per accepted event. `fan` lists the targets that matched then, as JSON ("[]": none), so that accepting an
-- event writes one row however many targets it has. `doc` stands last: reading the other columns skips its pages.
-- No further index: each costs more than the rest of the insert.
CREATE TABLE event (
  seq      INTEGER PRIMARY KEY,
  bus_id   INTEGER NOT NULL,
  ce_id    TEXT NOT NULL,
  source   TEXT NOT NULL,
  type     TEXT NOT NULL,
  subject  TEXT,
  trace_id TEXT,
  fan      TEXT NOT NULL,
  doc      BLOB NOT NULL
) STRICT;

-- The latest state of a delivery; none while it is in memory for its first attempt. `first_try` is that attempt, packed,
-- when it delivered: nearly all attempts are, and a row of their own would cost each another key.
CREATE TABLE delivery (
  seq         INTEGER NOT NULL,
  target_id   INTEGER NOT NULL,
  status      INTEGER NOT NULL,
  attempts    INTEGER NOT NULL,
  status_code INTEGER,
  duration_ms INTEGER NOT NULL,
  at_ms       INTEGER NOT NULL,
  reason      INTEGER,
  detail      TEXT,
  first_try   BLOB,
  PRIMARY KEY (seq, target_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_by_target ON delivery (target_id, seq);
-- Only what was not simply delivered (status 1): failures are found at once among millions of successes.
CREATE INDEX delivery_by_target_not_delivered ON delivery (target_id, seq) WHERE status <> 1;
CREATE INDEX delivery_not_delivered ON delivery (seq, target_id) WHERE status <> 1;

-- Requests made, but for those in `delivery`. `record` is JSON (request and response, secrets masked), or where it
-- differs from a sample.
CREATE TABLE attempt (
  seq           INTEGER NOT NULL,
  target_id     INTEGER NOT NULL,
  number        INTEGER NOT NULL,
  set_off_by    INTEGER NOT NULL,
  started_at_ms INTEGER NOT NULL,
  duration_ms   INTEGER NOT NULL,
  status_code   INTEGER,
  reason        INTEGER,
  detail        TEXT,
  next_at_ms    INTEGER,
  record        BLOB,
  PRIMARY KEY (seq, target_id, number)
) STRICT, WITHOUT ROWID;

-- Records that those of other attempts of the target are nearly the same as. `id` is made from the text.
CREATE TABLE record_sample (
  target_id INTEGER NOT NULL,
  id        INTEGER NOT NULL,
  text      BLOB NOT NULL,
  PRIMARY KEY (target_id, id)
) STRICT, WITHOUT ROWID;

-- Work to be done at or after `due_at_ms`. A claim moves that to the end of its lease and names its owner.
CREATE TABLE pending (
  target_id       INTEGER NOT NULL,
  due_at_ms       INTEGER NOT NULL,
  seq             INTEGER NOT NULL,
  attempts        INTEGER NOT NULL,
  attempts_before INTEGER NOT NULL,
  since_ms        INTEGER NOT NULL,
  set_off_by      INTEGER NOT NULL,
  owner           INTEGER,
  PRIMARY KEY (target_id, due_at_ms, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pending_by_delivery ON pending (seq, target_id);

-- Events on buses with strict de-duplication; `key` is a 128-bit hash of source and id.
CREATE TABLE strict_key (
  bus_id INTEGER NOT NULL,
  key    BLOB NOT NULL,
  seq    INTEGER NOT NULL,
  PRIMARY KEY (bus_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX strict_key_by_event ON strict_key (seq);

-- The keys by which repeats of events of the last minutes are recognised: those of a commit in one row, 32 bytes each, under
-- the first event. Reading them back from the events would take a start seconds for each million.
CREATE TABLE recent (
  seq  INTEGER PRIMARY KEY,
  keys BLOB NOT NULL
) STRICT;

-- Every event of the node up to `watermark` has an outcome or pending work for each entry of its fan-out.
CREATE TABLE node (
  node_id   INTEGER PRIMARY KEY,
  watermark INTEGER NOT NULL
) STRICT;

-- Entries of searchable logs.
CREATE TABLE log (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  name           TEXT NOT NULL UNIQUE,
  retention_days INTEGER NOT NULL
) STRICT;
CREATE TABLE log_entry (
  log_id    INTEGER NOT NULL REFERENCES log (id),
  seq       INTEGER NOT NULL,
  target_id INTEGER NOT NULL,
  ce_id     TEXT NOT NULL,
  source    TEXT NOT NULL,
  type      TEXT NOT NULL,
  subject   TEXT,
  text      TEXT NOT NULL,
  PRIMARY KEY (log_id, seq, target_id)
) STRICT, WITHOUT ROWID;

-- Answers to be given again to the same Idempotency-Key.
CREATE TABLE idempotency (
  scope       BLOB NOT NULL PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  at_ms       INTEGER NOT NULL,
  answer      BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (at_ms);

-- ---------------------------------------------------------------------------------------------- configuration

-- One row; goes up with every change below.
CREATE TABLE config_version (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  version INTEGER NOT NULL
) STRICT;
INSERT INTO config_version (one, version) VALUES (1, 0);

-- AUTOINCREMENT: an id is never given out again. Deleted things stay as rows, so that history can name them; names
-- are unique among those that are not deleted.
CREATE TABLE bus (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT NOT NULL,
  spec          TEXT NOT NULL,
  revision      INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  deleted_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX bus_name ON bus (name) WHERE deleted_at_ms IS NULL;

CREATE TABLE rule (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  bus_id        INTEGER NOT NULL REFERENCES bus (id),
  name          TEXT NOT NULL,
  spec          TEXT NOT NULL,
  revision      INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  deleted_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX rule_name ON rule (bus_id, name) WHERE deleted_at_ms IS NULL;

CREATE TABLE target (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  rule_id         INTEGER NOT NULL REFERENCES rule (id),
  name            TEXT NOT NULL,
  kind            TEXT NOT NULL,
  spec            TEXT NOT NULL,
  disabled_reason TEXT,
  disabled_at_ms  INTEGER,
  revision        INTEGER NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  updated_at_ms   INTEGER NOT NULL,
  deleted_at_ms   INTEGER
) STRICT;
CREATE UNIQUE INDEX target_name ON target (rule_id, name) WHERE deleted_at_ms IS NULL;

CREATE TABLE api_key (
  id                  TEXT NOT NULL PRIMARY KEY,
  name                TEXT NOT NULL,
  hash                BLOB NOT NULL,
  scopes              TEXT NOT NULL,
  created_at_ms       INTEGER NOT NULL,
  expires_at_ms       INTEGER,
  revoked_at_ms       INTEGER,
  requests_per_second INTEGER
) STRICT;

CREATE TABLE audit (
  number      INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms       INTEGER NOT NULL,
  actor       TEXT NOT NULL,
  action      TEXT NOT NULL,
  resource    TEXT NOT NULL,
  before_json TEXT,
  after_json  TEXT,
  request_id  TEXT
) STRICT;

CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
