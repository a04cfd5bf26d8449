-- Archives, replays, retention by bus.

CREATE TABLE archive (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  bus_id          INTEGER NOT NULL REFERENCES bus (id),
  name            TEXT NOT NULL,
  spec            TEXT NOT NULL,
  revision        INTEGER NOT NULL,
  created_at_ms   INTEGER NOT NULL,
  updated_at_ms   INTEGER NOT NULL,
  deleted_at_ms   INTEGER,
  changed_version INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX archive_name ON archive (bus_id, name) WHERE deleted_at_ms IS NULL;
CREATE INDEX archive_by_change ON archive (changed_version);

-- A copy, because it outlives the event: retention drops whole ranges of events. Of a deleted archive they are removed in
-- the background.
CREATE TABLE archived_event (
  archive_id INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  ce_id      TEXT NOT NULL,
  source     TEXT NOT NULL,
  type       TEXT NOT NULL,
  subject    TEXT,
  doc        BLOB NOT NULL,
  PRIMARY KEY (archive_id, seq)
) STRICT, WITHOUT ROWID;

-- Copies and their bytes by archive. By node, so that nodes do not wait for each other's commits; what purges have removed
-- is counted by node -1, negative.
CREATE TABLE archive_usage (
  archive_id INTEGER NOT NULL,
  node_id    INTEGER NOT NULL,
  events     INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  PRIMARY KEY (archive_id, node_id)
) STRICT, WITHOUT ROWID;

-- A replay with where it stands. `cursor` is the last event looked at; it moves in the transaction that stores the
-- events put onto the bus again, so that a crash neither repeats nor loses one.
CREATE TABLE replay (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  spec           TEXT NOT NULL,
  state          INTEGER NOT NULL,
  cursor         INTEGER NOT NULL,
  looked_at      INTEGER NOT NULL,
  replayed       INTEGER NOT NULL,
  detail         TEXT,
  owner          INTEGER,
  lease_until_ms INTEGER NOT NULL,
  created_by     TEXT NOT NULL,
  created_at_ms  INTEGER NOT NULL,
  updated_at_ms  INTEGER NOT NULL,
  ended_at_ms    INTEGER
) STRICT;
CREATE INDEX replay_running ON replay (id) WHERE state = 0;

-- Set on an event that a replay has put onto the bus again, with the event it repeats.
ALTER TABLE event ADD COLUMN replay_id INTEGER;
ALTER TABLE event ADD COLUMN replay_of INTEGER;

-- Events stored, and their bytes, by bus, hour of acceptance (since 1970) and node: what retention by size goes by, and cheap
-- totals. Written with the events, taken down with them.
CREATE TABLE bus_usage (
  bus_id  INTEGER NOT NULL,
  hour    INTEGER NOT NULL,
  node_id INTEGER NOT NULL,
  events  INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (bus_id, hour, node_id)
) STRICT, WITHOUT ROWID;
