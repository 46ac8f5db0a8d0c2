#!lua flags=allow-oom
-- drop.lua -- take jobs out of Redis that MySQL knows as final or no longer has ("final"), or whose
-- permit may have been lost together with the worker that held it ("doubt": result unknown).
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results   then for each job: jobs, device, ids
-- ARGV[1] incarnation  ARGV[2] "final" | "doubt"  ARGV[3] "all" (recovery) | "idle" (staged and waiting; final
--         ones that are leased, too: they are provably unsent, and permit says "stale" to their worker)
-- then for each job: device name, id, row, gen (a job that has another one by now is left alone)
--
-- Returns the number of jobs dropped.
local refused = gate(true)
if refused then return refused end
local ready, leases, results = KEYS[2], KEYS[3], KEYS[4]
local dropped, a = 0, 4
for k = 5, #KEYS, 3 do
  local jobs, device, ids = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local name, id = ARGV[a], ARGV[a + 1]
  local w = words(redis.call('HGET', ids, id))
  local held = w[1] == 'L' or w[1] == 'P'
  local reached = ARGV[3] == 'all' or (w[1] == 'L' and ARGV[2] == 'final')
  if w[2] == ARGV[a + 3] and (w[1] == 'S' or w[1] == 'W' or (held and reached)) then
    if held then end_lease(leases, device, name, id) end
    if w[1] ~= 'S' then remove_entry(jobs, w[3]) end
    if ARGV[2] == 'doubt' and w[1] ~= 'S' then
      redis.call('HSET', ids, id, 'U ' .. w[2] .. ' 0 unknown')
      result(results, 'unknown', id, ARGV[a + 2], name, w[2], '0', 'code', 'redis-lost', 'text',
        'Redis lost data and a worker that may have sent it did not report')
    else
      redis.call('HDEL', ids, id)
    end
    place(ready, device, jobs, name)
    dropped = dropped + 1
  end
  a = a + 4
end
return dropped
