-- `attempts`, `status_code` and `duration_ms` of a delivery are null where its `first_try` says them: then it is its only one.
ALTER TABLE delivery ALTER COLUMN attempts DROP NOT NULL, ALTER COLUMN duration_ms DROP NOT NULL;
