-- `attempts`, `status_code` and `duration_ms` of a delivery are null where its `first_try` says them: then it is its only one.
-- SQLite has no statement that lets a column be null, and a copy of the table would take minutes for a large history. A
-- constraint says nothing about what is stored, so its text may be changed in place
-- (https://www.sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes"). The table that comes and goes
-- makes every connection read the schema again.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
  SET sql = replace(replace(sql, 'attempts    INTEGER NOT NULL', 'attempts    INTEGER'),
                    'duration_ms INTEGER NOT NULL', 'duration_ms INTEGER')
  WHERE type = 'table' AND name = 'delivery';
CREATE TABLE schema_changes (x INTEGER) STRICT;
DROP TABLE schema_changes;
PRAGMA writable_schema = RESET;
