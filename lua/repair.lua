#!lua flags=allow-oom
-- repair.lua -- make one device's keys agree: entries without ids, ids without entries, leases without
-- deliveries and deliveries without leases, the in-flight count, the ready index.  (A lease whose id is gone
-- ends by reclaim.)
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] jobs  KEYS[5] device  KEYS[6] ids  KEYS[7] devices
-- ARGV[1] incarnation  ARGV[2] device name  ARGV[3] lease ms
--
-- Returns the number of things put right.  Bounded by the device's window.  Harmless at any moment.
local refused = gate()
if refused then return refused end
local ready, leases, jobs, device, ids, name = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[2]
local fixed, in_flight, known = 0, 0, {}
local all = redis.call('HGETALL', ids)
for i = 1, #all, 2 do
  local id, w = all[i], words(all[i + 1])
  local entry = (w[1] == 'W' or w[1] == 'L' or w[1] == 'P') and w[3]
  if w[1] == 'W' and (entry == '-' or #redis.call('XRANGE', jobs, entry, entry) == 0) then
    redis.call('HDEL', ids, id) -- MySQL still has the row: reconcile puts it back
    fixed, entry = fixed + 1, nil
  end
  if entry then known[entry] = true end
  if w[1] == 'L' or w[1] == 'P' then
    in_flight = in_flight + 1
    if not redis.call('ZSCORE', leases, name .. '/' .. id) then
      redis.call('ZADD', leases, now + tonumber(ARGV[3]), name .. '/' .. id)
      fixed = fixed + 1
    end
  elseif redis.call('ZREM', leases, name .. '/' .. id) == 1 then
    fixed = fixed + 1
  end
end
for _, e in ipairs(redis.call('XRANGE', jobs, '-', '+', 'COUNT', 5000)) do
  if not known[e[1]] then
    remove_entry(jobs, e[1])
    fixed = fixed + 1
  end
end
local counted = tonumber(redis.call('HGET', device, 'in_flight') or '0')
if counted ~= in_flight then
  redis.call('HSET', device, 'in_flight', in_flight)
  fixed = fixed + 1
end
local before = redis.call('ZSCORE', ready, name)
place(ready, device, jobs, name)
local after = redis.call('ZSCORE', ready, name)
if (before and true) ~= (after and true) then fixed = fixed + 1 end
retire(jobs, device, ids, KEYS[7], name)
return fixed
