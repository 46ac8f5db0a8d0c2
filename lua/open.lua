#!lua flags=allow-oom
-- open.lua -- the end of a recovery: the partition serves again.
--
-- KEYS[1] meta  KEYS[2] results
-- ARGV[1] the incarnation that was checked (a newer one answers EPOCH: it has not been checked)
-- ARGV[2] "doubt" when a worker did not report in time, else ""
--
-- Returns 1.
local refused = gate(true)
if refused then return refused end
redis.pcall('XGROUP', 'CREATE', KEYS[2], 'ledger', '0', 'MKSTREAM')
if redis.call('HGET', KEYS[1], 'state') ~= 'open' then
  redis.call('HSET', KEYS[1], 'state', 'open', 'opened', now)
  if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'doubt', ARGV[2]) end
end
return 1
