#!lua flags=allow-oom
-- hold.lua -- what one delivery has learned of an account or an endpoint holds for all of its devices.  Runs past
-- maxmemory: a few words an account, and without them every device would ask.
--
-- KEYS[1] meta  KEYS[2] holds
-- ARGV[1] incarnation  ARGV[2] field (e:<sender>, a:<user>/<account>)  ARGV[3] ms  ARGV[4] cap ms  ARGV[5] told
--      (1 = the provider named the length; else it doubles, up to the cap, at each failure that follows another)
--      ARGV[6] code  ARGV[7] device that learned it
--
-- Returns until when it is held, ms.  What deliveries that were under way meanwhile say prolongs nothing; what the
-- probe says does.  Same call again: as if another of them had said it.
local refused = gate()
if refused then return refused end
local ms, cap, told = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local w = words(redis.call('HGET', KEYS[2], ARGV[2]))
local ends, count = tonumber(w[1] or '0'), tonumber(w[2] or '0')
if ends > now and w[4] ~= ARGV[7] then
  if not told or now + ms <= ends then return ends end
else
  count = count + 1
end
if not told then ms = math.max(ms, math.min(ms * 2 ^ math.min(count - 1, 20), cap)) end
ends = now + ms
local code = string.gsub(ARGV[6] == '' and '-' or ARGV[6], '%s', '_')
redis.call('HSET', KEYS[2], ARGV[2], string.format('%.0f %d %s', ends, count, code))
redis.call('PEXPIRE', KEYS[2], math.max(ms + 86400000, redis.call('PTTL', KEYS[2])))
return ends
