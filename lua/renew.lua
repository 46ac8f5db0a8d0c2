#!lua flags=allow-oom
-- renew.lua -- extend the caller's own leases.
--
-- KEYS[1] meta  KEYS[2] leases   then for each delivery: ids
-- ARGV[1] incarnation  ARGV[2] lease ms   then for each delivery: device name, id, gen, token
--
-- Returns 1 renewed, 0 not this token's any more, a delivery.
local refused = gate()
if refused then return refused end
local out, a = {}, 3
for k = 3, #KEYS do
  local w = words(redis.call('HGET', KEYS[k], ARGV[a + 1]))
  if (w[1] == 'L' or w[1] == 'P') and w[2] == ARGV[a + 2] and w[4] == ARGV[a + 3] then
    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[a] .. '/' .. ARGV[a + 1])
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
  a = a + 4
end
return out
