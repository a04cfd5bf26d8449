-- Alarms reach people: named documents, what sources could not read.

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
