#!lua flags=allow-oom
-- reclaim.lua -- find leases past their end; end those that the caller has watched long enough.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results   then for each lease: jobs, device, ids
-- ARGV[1] incarnation  ARGV[2] how many expired leases to name
-- then for each lease: device name, id, its end as named by an earlier call
--
-- Returns {now, one string a lease, ..., then for each expired lease: "device/id", end}
--   again    it had not been permitted: waiting again, at the head
--   unknown  it had been permitted: result "unknown"; never sent again silently
--   gone     renewed, finished or not expired: nothing done
local refused = gate()
if refused then return refused end
local ready, leases, results = KEYS[2], KEYS[3], KEYS[4]
local out, a = {now}, 3
for k = 5, #KEYS, 3 do
  local jobs, device, ids = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local name, id, ends = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local score = redis.call('ZSCORE', leases, name .. '/' .. id)
  local w = words(redis.call('HGET', ids, id))
  if not score or score ~= ends or tonumber(score) > now then
    out[#out + 1] = 'gone'
  elseif w[1] == 'L' then
    end_lease(leases, device, name, id)
    redis.call('HSET', ids, id, 'W ' .. w[2] .. ' ' .. w[3])
    out[#out + 1] = 'again'
  elseif w[1] == 'P' then
    local row = w[6] or '0'
    local e = w[3] ~= '-' and redis.call('XRANGE', jobs, w[3], w[3])[1]
    if e then
      for i = 1, #e[2], 2 do if e[2][i] == 'row' then row = e[2][i + 1] end end
    end
    end_lease(leases, device, name, id)
    remove_entry(jobs, w[3])
    redis.call('HSET', ids, id, 'U ' .. w[2] .. ' ' .. w[4] .. ' unknown')
    result(results, 'unknown', id, row, name, w[2], w[4], 'code', 'lease', 'text', 'the worker died or froze after the permit',
      'by', w[5] or '-')
    out[#out + 1] = 'unknown'
  else
    redis.call('ZREM', leases, name .. '/' .. id)
    out[#out + 1] = 'gone'
  end
  place(ready, device, jobs, name)
  a = a + 3
end
for _, x in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])) do
  out[#out + 1] = x
end
return out
