#!lua flags=allow-oom
-- release.lua -- give back leases that were not used; order is kept, the jobs stay at the head.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] holds   then for each delivery: jobs, device, ids
-- ARGV[1] incarnation
-- then for each delivery: device name, id, gen, token, not before ms from now (0 = at once), why
--
-- Returns 1 given back, 0 not this token's any more, a delivery.  The caller vouches that no request was
--         started: so a permit whose reply was lost may be given back too.
local refused = gate()
if refused then return refused end
local out, a = {}, 2
for k = 5, #KEYS, 3 do
  local jobs, device, ids = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local name, id, gen, token, later = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4])
  local w = words(redis.call('HGET', ids, id))
  if (w[1] == 'L' or w[1] == 'P') and w[2] == gen and w[4] == token then
    end_lease(KEYS[3], device, name, id)
    end_probe(KEYS[4], device, name)
    if w[3] == '-' then redis.call('HDEL', ids, id) -- its entry is lost: reconcile puts the row back
    else redis.call('HSET', ids, id, 'W ' .. gen .. ' ' .. w[3]) end
    if later > 0 and tonumber(redis.call('HGET', device, 'next') or '0') < now + later then
      redis.call('HSET', device, 'next', now + later, 'held', ARGV[a + 5])
    end
    place(KEYS[2], device, jobs, name)
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
  a = a + 6
end
return out
