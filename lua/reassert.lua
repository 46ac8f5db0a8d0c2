#!lua flags=allow-oom
-- reassert.lua -- after Redis lost data, a worker tells what it permitted and sent lately.  A job that came
-- back from the dead is taken out of the stream again; tokens are raised past those handed out.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results  KEYS[5] devices
-- then for each record: jobs, device, ids
-- ARGV[1] incarnation  ARGV[2] lease ms  ARGV[3] worker ("" = more records follow; else this worker is done)
-- then for each record: device name, id, gen, token, row, state ("flying" the request is under way in the
--      calling worker, "sent", "unknown"), owner
--
-- Returns one string a record: known (nothing to do) or fixed.
-- Certain non-sends are not asserted: as final states they would erase a later send.
local refused = gate(true)
if refused then return refused end
local ready, leases, results = KEYS[2], KEYS[3], KEYS[4]

local function decide(jobs, device, ids, a)
  local name, id, gen, token, row, state = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  if tonumber(redis.call('HGET', device, 'token') or '0') < tonumber(token) then
    redis.call('HSET', device, 'token', token)
  end
  local w = words(redis.call('HGET', ids, id))
  local held = w[1] == 'L' or w[1] == 'P'
  if state == 'flying' then
    if w[1] == 'D' or w[1] == 'R' or w[1] == 'U' or (w[2] and tonumber(w[2]) > tonumber(gen)) then return 'known' end
    if not held then redis.call('HINCRBY', device, 'in_flight', 1) end
    local entry = w[1] ~= 'S' and w[3] or '-'
    if w[2] ~= gen then -- an earlier claim's entry is not this flight's
      remove_entry(jobs, entry)
      entry = '-'
    end
    redis.call('HSET', ids, id, 'P ' .. gen .. ' ' .. entry .. ' ' .. token .. ' ' .. ARGV[a + 6] .. ' ' .. row)
    redis.call('ZADD', leases, now + tonumber(ARGV[2]), name .. '/' .. id)
    redis.call('SADD', KEYS[5], name)
    return w[1] == 'P' and 'known' or 'fixed'
  end
  if w[1] == 'D' and w[4] == 'sent' then return 'known' end
  if state == 'unknown' and (w[1] == 'D' or w[1] == 'U' or w[1] == 'R' or (w[2] and tonumber(w[2]) > tonumber(gen))) then
    return 'known'
  end
  if held then end_lease(leases, device, name, id) end
  if held or w[1] == 'W' then remove_entry(jobs, w[3]) end
  redis.call('HSET', ids, id, (state == 'sent' and 'D ' or 'U ') .. gen .. ' ' .. token .. ' ' .. state)
  redis.call('SADD', KEYS[5], name)
  result(results, state, id, row, name, gen, token, 'code', 'reassert', 'text', 'reported again after Redis lost data',
    'by', ARGV[a + 6], 'late', '1')
  return 'fixed'
end

local out, a = {}, 4
for k = 6, #KEYS, 3 do
  out[#out + 1] = decide(KEYS[k], KEYS[k + 1], KEYS[k + 2], a)
  place(ready, KEYS[k + 1], KEYS[k], ARGV[a])
  a = a + 7
end
if ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'state') ~= 'open' then
  redis.call('HSET', KEYS[1], 'told:' .. ARGV[3], now)
end
return out
