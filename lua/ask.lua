#!lua
-- ask.lua -- devices whose providers a worker is to ask how they are.
--
-- KEYS[1] meta  KEYS[2] checks
-- ARGV[1] incarnation  ARGV[2] wake channel  ARGV[3] partition  ARGV[4] ms after which nobody wants to know any more
-- then for each device: name, sender, what the provider calls it
--
-- Returns how many are asked for.  Same call again: no change.
local refused = gate()
if refused then return refused end
for a = 5, #ARGV, 3 do redis.call('HSET', KEYS[2], ARGV[a], ARGV[a + 1] .. ' ' .. ARGV[a + 2]) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[2], ARGV[3] .. ' check')
return redis.call('HLEN', KEYS[2])
