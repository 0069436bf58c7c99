-- The mirror of orders, one row each: the version that was read last counts (FINAL), and it hides the row where it says is_deleted.
--
-- Sorted by the bytes of the id, as PostgreSQL sorts UUIDs, so that both can be compared range by range. No partitions: all versions of
-- a row must be in one.
CREATE TABLE IF NOT EXISTS orders_mirror${on_cluster}
(
    id UUID,
    store_id Nullable(UUID),
    number Nullable(Int64),
    status LowCardinality(String),
    currency LowCardinality(String),
    items_total Decimal(19, 4),
    discount Decimal(19, 4),
    shipping Decimal(19, 4),
    tax Decimal(19, 4),
    total Decimal(19, 4),
    created_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    completed_at Nullable(DateTime64(6, 'UTC')),
    synced_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    is_deleted UInt8
)
ENGINE = ${replicated}ReplacingMergeTree(synced_at, is_deleted)
ORDER BY UUIDToNum(id)
SETTINGS ${deduplication_window} = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
