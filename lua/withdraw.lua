#!lua flags=allow-oom
-- withdraw.lua -- take back jobs that must not go out any more, waiting or leased.  Runs past maxmemory: it makes
-- room, and nobody is to be written to for want of memory.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results   then for each job: jobs, device, ids
-- ARGV[1] incarnation
-- then for each job: device name, id, row, gen of the row (a job of a later one is left alone), code
--
-- Returns one string a job:
--   T      it waited or was leased, provably unsent: taken out, the device has room again, result "skipped" with
--          the code; a worker that holds it is told "stale" by permit
--   S      it was staged: forgotten, whoever staged it finds nothing to activate; the caller deals with its row
--   P      permitted: it may have left.  Nothing done
--   D R U  its result is on its way (T, when it is called again).  Nothing done
--   N      it has another, later generation.  Nothing done
--   ""     not known
-- Cost    O(log devices) a job.
local refused = gate()
if refused then return refused end
local ready, leases, results = KEYS[2], KEYS[3], KEYS[4]

local function decide(jobs, device, ids, a)
  local name, id, row, gen, code = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  local w = words(redis.call('HGET', ids, id))
  if not w[1] then return '' end
  if tonumber(w[2]) > tonumber(gen) then return 'N' end
  if w[1] == 'S' then
    redis.call('HDEL', ids, id)
    return w[2] == gen and 'S' or ''
  end
  if w[1] ~= 'W' and w[1] ~= 'L' then return w[1] end
  if w[1] == 'L' then end_lease(leases, device, name, id) end
  remove_entry(jobs, w[3])
  redis.call('HSET', ids, id, 'D ' .. w[2] .. ' 0 skipped')
  result(results, 'skipped', id, row, name, w[2], '0', 'code', code)
  return 'T'
end

local out, a = {}, 2
for k = 5, #KEYS, 3 do
  out[#out + 1] = decide(KEYS[k], KEYS[k + 1], KEYS[k + 2], a)
  place(ready, KEYS[k + 1], KEYS[k], ARGV[a])
  a = a + 5
end
return out
