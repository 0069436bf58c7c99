-- The events of users (specification, analytics integration).
--
-- A row is identified by its whole sorting key: the same id with the same store, day and type replaces the earlier row, and reads say
-- FINAL to see each event once even before the parts are merged. Reads of a store and a range of days skip everything else, since these
-- lead the key. Events of no store have none, so the key may be null. A row goes 400 days after its event, which leaves a whole year to
-- compare with. Each insert is on disk before it is acknowledged.
CREATE TABLE IF NOT EXISTS user_events${on_cluster}
(
    id UUID,
    store_id Nullable(UUID),
    user_id Nullable(UUID),
    session_id Nullable(String),
    client_event_id Nullable(String),
    event_type LowCardinality(String),
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    metadata String CODEC(ZSTD(3)),
    page_url Nullable(String) CODEC(ZSTD(3)),
    user_agent LowCardinality(Nullable(String)),
    ip_address Nullable(String) CODEC(ZSTD(1)),
    is_error Bool,
    error_msg Nullable(String) CODEC(ZSTD(3)),
    INDEX id_filter id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX user_filter user_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX session_filter session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}ReplacingMergeTree(received_at)
PARTITION BY toYYYYMM(timestamp)
PRIMARY KEY (store_id, toDate(timestamp), event_type)
ORDER BY (store_id, toDate(timestamp), event_type, id)
TTL toDateTime(timestamp) + INTERVAL 400 DAY
SETTINGS allow_nullable_key = 1, ${deduplication_window} = 10000, fsync_after_insert = 1, fsync_part_directory = 1;
