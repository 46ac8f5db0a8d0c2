#!lua flags=allow-oom
-- beat.lua -- a program says that it is alive, and learns who else is.
--
-- KEYS[1] fleet (zset: name -> last beat)
-- ARGV[1] name, or "" to look only  ARGV[2] "leave" to go: kept as long silent, so that everybody sees that it
--         has gone (a name that is missing may have been lost with Redis' data)
--         "drain": alive, but not to be counted on: seen as silent for four seconds
--
-- Returns {now, name, last beat, ...}, the latest first.  Programs silent for ten minutes are removed.
if ARGV[2] == 'leave' then redis.call('ZADD', KEYS[1], now - 300000, ARGV[1])
elseif ARGV[2] == 'drain' then redis.call('ZADD', KEYS[1], now - 4000, ARGV[1])
elseif ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 600000)
local all = redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(all, 1, now)
return all
