-- A million records as the Collector's exporter writes them: of 250,000 connections both ends, a victim and
-- who has reset it; of another 125,000 an RST without a socket, which only its numbers name, at its sender and
-- its victim; and 250,000 failures of which the other end says nothing. A thousand hosts, an hour.
INSERT INTO otel.otel_logs
    (Timestamp, SeverityNumber, ServiceName, Body, ResourceAttributes, ScopeName, ScopeVersion, LogAttributes, EventName)
WITH
    intDiv(number, 4) AS story,
    number % 4 AS part,
    -- 0 and 1: an RST of a connection; 2: an RST without a socket, both ends by turns; 3: alone.
    part = 0 OR part = 3 OR (part = 2 AND story % 2 = 0) AS is_victim,
    if(part = 2, intDiv(story, 2), story) AS pair,
    cityHash64('ends', pair, part = 2, part = 3) AS random,
    toUInt32(random) AS seq,
    concat('host-', toString(if(is_victim, pair % 500, 500 + (pair * 7) % 500))) AS host,
    toDateTime64(toStartOfDay(now() - INTERVAL 1 DAY), 9) + toIntervalMillisecond(pair * 14 + if(is_victim, 2, 0)) AS ts
SELECT
    ts,
    if(is_victim, 17, 9),
    concat('service-', toString(pair % 50 + if(is_victim, 0, 50))),
    if(is_victim, 'the peer sent RST on a live connection', 'closed with 4096 unread bytes'),
    map('service.name', concat('service-', toString(pair % 50 + if(is_victim, 0, 50))), 'service.namespace', 'shop',
        'host.name', host, 'host.id', lower(hex(MD5(host))), 'host.arch', 'amd64', 'os.type', 'linux'),
    'socktrace',
    '0.1.0',
    mapFilter((name, value) -> value != '', map(
        'error.type', if(is_victim, 'ECONNRESET', ''),
        'network.transport', 'tcp',
        'network.type', 'ipv4',
        'network.local.address', concat('10.', toString(if(is_victim, 1, 2)), '.', toString(intDiv(pair, 250) % 250), '.', toString(pair % 250)),
        'network.local.port', if(is_victim, toString(32768 + pair % 28000), '443'),
        'network.peer.address', concat('10.3.', toString(intDiv(pair, 250) % 250), '.', toString(pair % 250)),
        'network.peer.port', if(is_victim, '443', toString(32768 + pair % 28000)),
        'network.connection.state', 'established',
        'process.pid', toString(if(part = 2 AND NOT is_victim, 0, 1000 + pair % 1000)),
        'process.executable.name', if(part = 2 AND NOT is_victim, '', concat('app-', toString(pair % 50))),
        'socktrace.cause', if(is_victim, 'reset_by_peer', ''),
        'socktrace.call', if(is_victim, 'read_or_write', ''),
        'socktrace.direction', if(is_victim, 'peer', ''),
        'socktrace.severity', if(is_victim, 'failure', 'expected'),
        'socktrace.role', if(is_victim, 'client', 'server'),
        'socktrace.flow', if(part = 2 AND NOT is_victim, '', leftPad(lower(hex(random)), 16, '0')),
        'socktrace.rst.reason', if(is_victim, '', 'tcp_abort_on_close'),
        'socktrace.rst.seq', toString(seq),
        'socktrace.rst.ack', toString(toUInt32(random / 4294967296)),
        'socktrace.netns', '4026531840')),
    if(is_victim, 'socktrace.socket.failure', 'socktrace.reset.sent')
FROM numbers({EVENTS})
