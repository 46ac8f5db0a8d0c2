#!lua flags=allow-oom
-- begin.lua -- the first to see a new server process, or a flushed partition, closes it under a new
-- incarnation.  Runs past maxmemory, like everything that leads to room again.
--
-- KEYS[1] meta
-- ARGV[1] run id that the caller read on this connection  ARGV[2] a random word
--
-- Returns {incarnation, state}: the new one, closed, or the one that somebody else has begun already.
if not same_server(ARGV[1]) then return redis.error_reply('EPOCH another server answered') end
local inc = redis.call('HGET', KEYS[1], 'inc')
if not inc or string.sub(inc, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'inc', ARGV[1] .. ':' .. ARGV[2], 'state', 'closed', 'since', now)
end
return redis.call('HMGET', KEYS[1], 'inc', 'state')
