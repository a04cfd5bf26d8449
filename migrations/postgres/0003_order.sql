-- Deliveries in order: of those with the same target and `order_key` (a hash; none: no order), only the one with the
-- smallest `seq` may be on its way. The others have a due time that never comes until it has ended.
ALTER TABLE pending ADD COLUMN order_key BIGINT;
CREATE INDEX pending_by_order ON pending (target_id, order_key, seq) WHERE order_key IS NOT NULL;
