-- The table that the Collector's ClickHouse exporter writes, and the views that join both ends of a connection.
--
--     clickhouse client --multiquery < clickhouse.sql
--
-- It can be run again: existing tables stay, views are replaced. docs/fleet.md says how to use it.
--
-- Retention is the TTL of each table. A part is deleted when all its rows are old enough, so days are kept whole.
--
-- Many servers: make the tables ON CLUSTER, as ReplicatedMergeTree, with a Distributed table over each.
-- Both joins are local to a shard when `ends` is sharded by cityHash64(flow) and `rsts` by rst_seq: let the
-- two views below that fill them write to Distributed tables with these keys, and read those in
-- both_ends_between with `distributed_product_mode = 'local'`.

CREATE DATABASE IF NOT EXISTS otel;

-- As the exporter creates it; the exporter keeps an existing table.
CREATE TABLE IF NOT EXISTS otel.otel_logs
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    TraceFlags UInt8,
    SeverityText LowCardinality(String) CODEC(ZSTD(1)),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Body String CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    EventName String CODEC(ZSTD(1)),
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_key mapKeys(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_lower_body lower(Body) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp)
TTL toDateTime(Timestamp) + INTERVAL 7 DAY
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;

-- Reports of one end of a TCP connection, by connection.
CREATE TABLE IF NOT EXISTS otel.ends
(
    -- The same at both ends, even behind address translation. Empty in `rsts` where it is not known.
    flow String CODEC(ZSTD(1)),
    ts DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    id UInt64,
    event LowCardinality(String),
    severity UInt8,
    host LowCardinality(String),
    service LowCardinality(String),
    namespace LowCardinality(String),
    pod LowCardinality(String),
    process LowCardinality(String),
    pid UInt32,
    netns UInt64,
    local String CODEC(ZSTD(1)),
    local_port UInt16,
    peer String CODEC(ZSTD(1)),
    peer_port UInt16,
    role LowCardinality(String),
    state LowCardinality(String),
    error LowCardinality(String),
    cause LowCardinality(String),
    direction LowCardinality(String),
    rst_reason LowCardinality(String),
    -- Numbers of the RST that was received or sent.
    has_rst Bool,
    rst_seq UInt32,
    rst_ack UInt32,
    body String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (flow, ts)
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;

-- The same by the numbers of the RST, which is all that a host knows of an RST without a socket.
CREATE TABLE IF NOT EXISTS otel.rsts AS otel.ends
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (rst_seq, ts)
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;

-- Stores nothing: its rows go to both tables.
CREATE TABLE IF NOT EXISTS otel.said AS otel.ends ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS otel.ends_view TO otel.ends AS
SELECT * FROM otel.said WHERE flow != '';

CREATE MATERIALIZED VIEW IF NOT EXISTS otel.rsts_view TO otel.rsts AS
SELECT * FROM otel.said WHERE has_rst;

CREATE MATERIALIZED VIEW IF NOT EXISTS otel.said_view TO otel.said AS
SELECT
    LogAttributes['socktrace.flow'] AS flow,
    Timestamp AS ts,
    cityHash64(Timestamp, EventName, ResourceAttributes, LogAttributes) AS id,
    EventName AS event,
    SeverityNumber AS severity,
    if(ResourceAttributes['host.name'] != '', ResourceAttributes['host.name'], ResourceAttributes['host.id']) AS host,
    ServiceName AS service,
    if(ResourceAttributes['k8s.namespace.name'] != '', ResourceAttributes['k8s.namespace.name'], ResourceAttributes['service.namespace']) AS namespace,
    ResourceAttributes['k8s.pod.name'] AS pod,
    LogAttributes['process.executable.name'] AS process,
    toUInt32OrZero(LogAttributes['process.pid']) AS pid,
    toUInt64OrZero(LogAttributes['socktrace.netns']) AS netns,
    LogAttributes['network.local.address'] AS local,
    toUInt16OrZero(LogAttributes['network.local.port']) AS local_port,
    LogAttributes['network.peer.address'] AS peer,
    toUInt16OrZero(LogAttributes['network.peer.port']) AS peer_port,
    LogAttributes['socktrace.role'] AS role,
    LogAttributes['network.connection.state'] AS state,
    LogAttributes['error.type'] AS error,
    LogAttributes['socktrace.cause'] AS cause,
    LogAttributes['socktrace.direction'] AS direction,
    LogAttributes['socktrace.rst.reason'] AS rst_reason,
    mapContains(LogAttributes, 'socktrace.rst.seq') AS has_rst,
    toUInt32OrZero(LogAttributes['socktrace.rst.seq']) AS rst_seq,
    toUInt32OrZero(LogAttributes['socktrace.rst.ack']) AS rst_ack,
    Body AS body
FROM otel.otel_logs
WHERE ScopeName = 'socktrace'
  AND (mapContains(LogAttributes, 'socktrace.flow') OR mapContains(LogAttributes, 'socktrace.rst.seq'));

-- Every failure, of all protocols.
CREATE OR REPLACE VIEW otel.failures AS
SELECT
    Timestamp AS ts,
    ResourceAttributes['host.name'] AS host,
    ServiceName AS service,
    ResourceAttributes['k8s.namespace.name'] AS namespace,
    ResourceAttributes['k8s.pod.name'] AS pod,
    LogAttributes['process.executable.name'] AS process,
    toUInt32OrZero(LogAttributes['process.pid']) AS pid,
    LogAttributes['error.type'] AS error,
    LogAttributes['socktrace.cause'] AS cause,
    LogAttributes['socktrace.direction'] AS direction,
    LogAttributes['socktrace.severity'] AS severity,
    LogAttributes['socktrace.call'] AS call,
    LogAttributes['socktrace.sigpipe'] AS sigpipe,
    LogAttributes['network.transport'] AS transport,
    LogAttributes['socktrace.role'] AS role,
    LogAttributes['network.local.address'] AS local,
    toUInt16OrZero(LogAttributes['network.local.port']) AS local_port,
    LogAttributes['network.peer.address'] AS peer,
    toUInt16OrZero(LogAttributes['network.peer.port']) AS peer_port,
    LogAttributes['server.address'] AS server,
    toUInt16OrZero(LogAttributes['server.port']) AS server_port,
    LogAttributes['socktrace.icmp.router'] AS icmp_router,
    LogAttributes['socktrace.flow'] AS flow,
    -- A flood's row stands for many events.
    greatest(1, toUInt64OrZero(LogAttributes['socktrace.repeated'])) AS times,
    Body AS body
FROM otel.otel_logs
WHERE ScopeName = 'socktrace' AND EventName = 'socktrace.socket.failure';

-- Each failure of a TCP connection in that time, with the other end's report, and the culprit:
--
--     SELECT * FROM otel.both_ends_between(since = now() - 3600, until = now())
--
-- joined_by:
--   rst    the other end has sent the RST that came: connection and sequence number are the same
--   number the host of the other end has sent it for a socket that it does not have, or of which it does not
--          know the connection; only the RST's numbers are the same, within 10 s, and there is no second
--          candidate
--   flow   the other end has sent an RST within 10 s, but either end does not know its numbers
--   other  the other end has reported something else about the connection
--   none   there is no other report
--
-- culprit_kind:
--   other_process  a process of the other end; its name, host and service are other_*
--   other_kernel   the other end's kernel, for a socket that no process has any longer
--   this_end       the host that has failed itself
--   on_the_way     the other end is known and has not sent that RST: a device between has, or one that poses
--                  as the other end. Wrong if that host has lost events
--   other_end      the other end, but by no RST, as by closing too early
--   network        no RST was involved; the other end is there, and what it saw is other_*
--   unknown        the other end has reported nothing: it runs no socktrace, or none that reports here. Or it has
--                  sent another RST about then: either is possible
CREATE OR REPLACE VIEW otel.both_ends_between AS
WITH
    victims AS
    (
        SELECT * FROM otel.ends
        WHERE event = 'socktrace.socket.failure' AND ts >= {since:DateTime} AND ts <= {until:DateTime}
        UNION ALL
        SELECT * FROM otel.rsts
        WHERE event = 'socktrace.socket.failure' AND flow = ''
          AND ts >= {since:DateTime} AND ts <= {until:DateTime}
    ),
    by_flow AS
    (
        SELECT
            victim.id AS victim_id,
            other.ts AS other_ts,
            other.host AS other_host,
            other.service AS other_service,
            other.namespace AS other_namespace,
            other.pod AS other_pod,
            other.process AS other_process,
            other.pid AS other_pid,
            other.local AS other_local,
            other.local_port AS other_local_port,
            other.error AS other_error,
            other.cause AS other_cause,
            other.rst_reason AS rst_reason,
            other.body AS other_body,
            abs(dateDiff('millisecond', victim.ts, other.ts)) AS apart,
            -- Around a FIN, and where the kernel does not hand over the RST, the numbers differ by 1.
            abs(toInt64(victim.rst_seq) - toInt64(other.rst_seq)) <= 1 AS is_it,
            multiIf(
                other.event = 'socktrace.socket.failure', 40,
                other.event != 'socktrace.reset.sent', 60,
                victim.has_rst AND other.has_rst AND is_it, 10,
                apart > 10000, 60,
                victim.has_rst AND other.has_rst, 50,
                victim.error IN ('ECONNRESET', 'ECONNREFUSED', 'EPIPE') AND victim.direction = 'peer', 30,
                60) AS rank
        FROM victims AS victim
        INNER JOIN
        (
            SELECT * FROM otel.ends
            WHERE ts >= {since:DateTime} - INTERVAL 3 HOUR AND ts <= {until:DateTime} + INTERVAL 3 HOUR
              AND flow IN (SELECT flow FROM victims)
        ) AS other ON other.flow = victim.flow
        WHERE NOT (other.host = victim.host AND other.local = victim.local AND other.local_port = victim.local_port
            AND (other.netns = victim.netns OR other.netns = 0 OR victim.netns = 0))
    ),
    by_number AS
    (
        SELECT
            victim.id AS victim_id,
            other.ts AS other_ts,
            other.host AS other_host,
            other.service AS other_service,
            other.namespace AS other_namespace,
            other.pod AS other_pod,
            other.process AS other_process,
            other.pid AS other_pid,
            other.local AS other_local,
            other.local_port AS other_local_port,
            other.error AS other_error,
            other.cause AS other_cause,
            other.rst_reason AS rst_reason,
            other.body AS other_body,
            abs(dateDiff('millisecond', victim.ts, other.ts)) AS apart,
            0 AS is_it,
            20 AS rank
        FROM victims AS victim
        INNER JOIN
        (
            SELECT * FROM otel.rsts
            WHERE event = 'socktrace.reset.sent' AND rst_seq IN (SELECT rst_seq FROM victims WHERE has_rst)
              AND ts >= {since:DateTime} - INTERVAL 1 MINUTE AND ts <= {until:DateTime} + INTERVAL 1 MINUTE
        ) AS other ON other.rst_seq = victim.rst_seq
        WHERE victim.has_rst
          AND (victim.flow = '' OR other.flow = '')
          AND (victim.rst_ack = other.rst_ack OR victim.rst_ack = 0 OR other.rst_ack = 0)
          -- A refused SYN is answered by sequence number 0: all is in the acknowledgement.
          AND (victim.rst_seq != 0 OR victim.rst_ack = other.rst_ack)
          AND apart <= 10000
          AND NOT (other.host = victim.host AND other.local = victim.local AND other.local_port = victim.local_port
            AND (other.netns = victim.netns OR other.netns = 0 OR victim.netns = 0))
        -- One sender for a victim, and one victim for a sender, or none: 32 bits can be the same by chance.
        QUALIFY uniqExact(other.host, other.netns, other.local, other.local_port, other.peer, other.peer_port) OVER (PARTITION BY victim.id) = 1
            AND uniqExact(victim.host, victim.netns, victim.local, victim.local_port) OVER (PARTITION BY other.id) = 1
    ),
    best AS
    (
        SELECT
            *,
            -- A process has closed by an RST that did not do it; the kernel's answer to what came then did.
            if(rank = 50 AND other_process != ''
                AND other_host = anyIf(other_host, rank = 20) OVER (PARTITION BY victim_id), 15, rank) AS place,
            max(rank = 50) OVER (PARTITION BY victim_id) AS sent_another
        FROM (SELECT * FROM by_flow UNION ALL SELECT * FROM by_number)
        ORDER BY victim_id, place, apart
        LIMIT 1 BY victim_id
    )
SELECT
    victim.ts AS ts,
    victim.host AS host,
    victim.service AS service,
    victim.namespace AS namespace,
    victim.pod AS pod,
    victim.process AS process,
    victim.pid AS pid,
    victim.role AS role,
    victim.local AS local,
    victim.local_port AS local_port,
    victim.peer AS peer,
    victim.peer_port AS peer_port,
    victim.error AS error,
    victim.cause AS cause,
    victim.body AS body,
    victim.flow AS flow,
    multiIf(best.place = 0, 'none', best.place = 10, 'rst', best.place <= 20, 'number', best.place = 30, 'flow', 'other') AS joined_by,
    best.other_ts,
    best.other_host,
    best.other_service,
    best.other_namespace,
    best.other_pod,
    best.other_process,
    best.other_pid,
    best.other_local,
    best.other_local_port,
    best.other_error,
    best.other_cause,
    best.rst_reason AS rst_reason,
    best.other_body,
    multiIf(
        victim.direction IN ('local_program', 'local_kernel'), 'this_end',
        joined_by IN ('rst', 'number', 'flow'), if(best.other_process != '', 'other_process', 'other_kernel'),
        joined_by = 'none' OR (victim.has_rst AND best.sent_another), 'unknown',
        victim.has_rst, 'on_the_way',
        victim.direction = 'peer', 'other_end',
        'network') AS culprit_kind,
    -- A service without a name gets its process's name.
    if(best.other_service != '' AND NOT startsWith(best.other_service, 'unknown_service'), concat(best.other_service, ' on ', best.other_host), best.other_host) AS other_place,
    multiIf(
        culprit_kind = 'this_end', concat(victim.process, ' on ', victim.host),
        culprit_kind = 'other_process', concat(best.other_process, '[', toString(best.other_pid), '], ', other_place, ': ', best.other_body),
        culprit_kind = 'other_kernel', concat('the kernel of ', best.other_host, ': ', best.other_body),
        culprit_kind = 'on_the_way', concat('sent on the way: the other end, ', other_place, ', has sent no such RST'),
        culprit_kind IN ('other_end', 'network'), concat('the other end, ', other_place, ', says: ', best.other_body),
        joined_by = 'other', concat('the other end, ', other_place, ', has sent another RST, and not this one'),
        'the other end has said nothing') AS culprit
FROM victims AS victim
LEFT JOIN best ON best.victim_id = victim.id
ORDER BY ts;

-- The same over all stored records.
CREATE OR REPLACE VIEW otel.both_ends AS
SELECT * FROM otel.both_ends_between(since = toDateTime('1971-01-01 00:00:00'), until = toDateTime('2100-01-01 00:00:00'));

-- Which service fails at which, how often, and who did it.
CREATE OR REPLACE VIEW otel.service_map AS
SELECT
    if(is_client, service, other) AS client,
    if(is_client, other, service) AS server,
    error,
    cause,
    culprit_kind,
    count() AS failures,
    min(ts) AS first,
    max(ts) AS last
FROM
(
    SELECT
        *,
        role != 'server' AS is_client,
        -- Without a socket there is no service, only the host.
        if(startsWith(other_service, 'unknown_service'), other_host, other_service) AS other
    FROM otel.both_ends
    WHERE other_host != ''
)
GROUP BY client, server, error, cause, culprit_kind
ORDER BY failures DESC;
