-- Alarms reach people.

-- ------------------------------------------------------------------------------------------------ deliveries in parts

-- What an earlier attempt left behind for the next: which parts of the delivery are done.
ALTER TABLE pending ADD COLUMN progress TEXT;

-- ------------------------------------------------------------------------------------------------ alarms

-- What events with the same `alarm_key` on a bus tell of. Written in the commit of each such event. `id` is the first event
-- that was seen of it; `firing` is 1 from `first_seq`, the first event since it fires, to `recovered_seq`; `fired` counts the
-- events in between. `severity` is 0 (info) to 3 (critical).
CREATE TABLE alarm (
  id            BIGINT PRIMARY KEY,
  bus_id        BIGINT NOT NULL,
  alarm_key     TEXT NOT NULL,
  firing        BIGINT NOT NULL,
  severity      BIGINT NOT NULL,
  source        TEXT NOT NULL,
  type          TEXT NOT NULL,
  subject       TEXT,
  title         TEXT,
  first_seq     BIGINT NOT NULL,
  last_seq      BIGINT NOT NULL,
  recovered_seq BIGINT,
  fired         BIGINT NOT NULL
);
CREATE UNIQUE INDEX alarm_by_key ON alarm (bus_id, alarm_key);
CREATE INDEX alarm_by_last ON alarm (last_seq);
CREATE INDEX alarm_firing ON alarm (last_seq) WHERE firing = 1;

-- What a target was told of an alarm; written with the outcome of the delivery that told it. `since_seq` is the alarm's
-- `first_seq` then: of an alarm that fires anew nothing has been told yet.
CREATE TABLE told (
  alarm_id    BIGINT NOT NULL,
  target_id   BIGINT NOT NULL,
  since_seq   BIGINT NOT NULL,
  last_seq    BIGINT NOT NULL,
  firing      BIGINT NOT NULL,
  severity    BIGINT NOT NULL,
  count       BIGINT NOT NULL,
  first_at_ms BIGINT NOT NULL,
  last_at_ms  BIGINT NOT NULL,
  thread      TEXT,
  PRIMARY KEY (alarm_id, target_id)
);
