-- Alarms reach people: named documents, what sources could not read, deliveries in parts, the life of alarms.

-- ------------------------------------------------------------------------------------------------ named documents

-- Sources, silences, contacts, groups ...: whatever has a name and a spec. `bus_id` is null where a kind belongs to the whole
-- server. A new kind needs no table.
CREATE TABLE document (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  kind            TEXT NOT NULL,
  bus_id          INTEGER REFERENCES bus (id),
  name            TEXT NOT NULL,
  spec            TEXT NOT NULL,
  revision        INTEGER NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  updated_at_ms   INTEGER NOT NULL,
  deleted_at_ms   INTEGER,
  changed_version INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX document_on_bus ON document (kind, bus_id, name) WHERE deleted_at_ms IS NULL;
-- Nulls are all different to an index.
CREATE UNIQUE INDEX document_of_server ON document (kind, name) WHERE deleted_at_ms IS NULL AND bus_id IS NULL;
CREATE INDEX document_by_change ON document (changed_version);

-- ------------------------------------------------------------------------------------------------ sources

-- What was posted to a source and could not be read, for operators: the newest of each source. `body` is its beginning.
CREATE TABLE unparsed (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  document_id  INTEGER NOT NULL,
  at_ms        INTEGER NOT NULL,
  format       TEXT,
  reason       TEXT NOT NULL,
  content_type TEXT,
  bytes        INTEGER NOT NULL,
  body         BLOB NOT NULL
) STRICT;
CREATE INDEX unparsed_by_source ON unparsed (document_id, id);

-- ------------------------------------------------------------------------------------------------ deliveries in parts

-- What an earlier attempt left behind for the next: which parts of the delivery are done.
ALTER TABLE pending ADD COLUMN progress TEXT;

-- ------------------------------------------------------------------------------------------------ alarms

-- What events with the same `alarm_key` on a bus tell of. Written in the commit of each such event. `id` is the first event
-- that was seen of it; `firing` is 1 from `first_seq`, the first event since it fires, to `recovered_seq`; `fired` counts the
-- events in between. `severity` is 0 (info) to 3 (critical).
CREATE TABLE alarm (
  id            INTEGER PRIMARY KEY,
  bus_id        INTEGER NOT NULL,
  alarm_key     TEXT NOT NULL,
  firing        INTEGER NOT NULL,
  severity      INTEGER NOT NULL,
  source        TEXT NOT NULL,
  type          TEXT NOT NULL,
  subject       TEXT,
  title         TEXT,
  first_seq     INTEGER NOT NULL,
  last_seq      INTEGER NOT NULL,
  recovered_seq INTEGER,
  fired         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alarm_by_key ON alarm (bus_id, alarm_key);
CREATE INDEX alarm_by_last ON alarm (last_seq);
CREATE INDEX alarm_firing ON alarm (last_seq) WHERE firing = 1;

-- What a target was told of an alarm; written with the outcome of the delivery that told it. `since_seq` is the alarm's
-- `first_seq` then: of an alarm that fires anew nothing has been told yet.
CREATE TABLE told (
  alarm_id    INTEGER NOT NULL,
  target_id   INTEGER NOT NULL,
  since_seq   INTEGER NOT NULL,
  last_seq    INTEGER NOT NULL,
  firing      INTEGER NOT NULL,
  severity    INTEGER NOT NULL,
  count       INTEGER NOT NULL,
  first_at_ms INTEGER NOT NULL,
  last_at_ms  INTEGER NOT NULL,
  thread      TEXT,
  PRIMARY KEY (alarm_id, target_id)
) STRICT, WITHOUT ROWID;
