-- Who tells of an event. Visitors may send events of any type, so what counts carts, orders and revenue looks at the platform's own alone.
ALTER TABLE user_events${on_cluster} ADD COLUMN IF NOT EXISTS source LowCardinality(String) DEFAULT 'client';
