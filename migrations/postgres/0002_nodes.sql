-- Several nodes on one database, and configuration that is loaded by what changed.

-- A node's id is leased. `epoch` goes up whenever the id gets another owner (a start, a take-over): a commit that carries
-- an old one writes nothing. Times are the database's own where nodes could disagree.
ALTER TABLE node ADD COLUMN epoch          BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN lease_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN state          BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN name           TEXT    NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN version        TEXT    NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN started_at_ms  BIGINT NOT NULL DEFAULT 0;
-- Which process joined by it, so that another on the same machine can tell that it has ended.
ALTER TABLE node ADD COLUMN process        TEXT    NOT NULL DEFAULT '';

-- What one node learned about a receiver, for the others: until when nothing is sent to it (0: nothing says so).
CREATE TABLE circuit (
  target_id       BIGINT PRIMARY KEY,
  node_id         BIGINT NOT NULL,
  open_until_ms   BIGINT NOT NULL,
  paused_until_ms BIGINT NOT NULL,
  failures        BIGINT NOT NULL,
  at_ms           BIGINT NOT NULL
);

-- For reloading only what has changed: the configuration version of a row's last change. That of a rule's targets counts for the rule too.
ALTER TABLE bus    ADD COLUMN changed_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rule   ADD COLUMN changed_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE target ADD COLUMN changed_version BIGINT NOT NULL DEFAULT 0;
CREATE INDEX bus_by_change    ON bus (changed_version);
CREATE INDEX rule_by_change   ON rule (changed_version);
CREATE INDEX target_by_change ON target (changed_version);
