#!lua flags=allow-oom
-- finish.lua -- record what came of deliveries: entry removed, result on its way to MySQL, device freed.
-- Runs past maxmemory: knowledge of a send must always get in.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results  KEYS[5] hungry
-- then for each delivery: jobs, device, ids
-- ARGV[1] incarnation
-- then for each delivery: device name, id, gen, token, row, kind (sent failed retry deferred unknown),
--      hold ms (the device serves nothing before), code, text, provider id, worker, send ms, busy ms (from the
--      permit to the answer: the slot of a device that sends one at a time moves on by it, so that the gap lies
--      between two requests as the provider sees them, however late the first one reached it)
--
-- Returns one string a delivery:
--   ok     recorded
--   dup    recorded before by this very token (its reply was lost)
--   late   it had been declared unknown meanwhile: recorded as its resolution
--   stale  the lease was somebody else's: a "sent" is recorded all the same, anything else only where Redis
--          knows nothing of the job any more
-- Cost    O(log devices) a delivery.
local refused = gate()
if refused then return refused end
local ready, leases, results, hungry = KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function decide(jobs, device, ids, a)
  local name, id, gen, token, row, kind = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local letter = kind == 'unknown' and 'U ' or (kind == 'retry' or kind == 'deferred') and 'R ' or 'D '
  local function record(late)
    redis.call('HSET', ids, id, letter .. gen .. ' ' .. token .. ' ' .. kind)
    result(results, kind, id, row, name, gen, token, 'code', ARGV[a + 7], 'text', ARGV[a + 8], 'pid', ARGV[a + 9],
      'by', ARGV[a + 10], 'ms', ARGV[a + 11], 'late', late)
  end
  local w = words(redis.call('HGET', ids, id))
  local held = w[1] == 'L' or w[1] == 'P'
  if held and w[2] == gen and w[4] == token then
    end_lease(leases, device, name, id)
    remove_entry(jobs, w[3])
    record('0')
    local hold = tonumber(ARGV[a + 6])
    local busy = tonumber(ARGV[a + 12])
    local d = redis.call('HMGET', device, 'next', 'more', 'window', 'max_in_flight')
    if busy > 0 and (d[4] or '1') == '1' then d[1] = redis.call('HINCRBY', device, 'next', busy) end
    if hold > 0 and tonumber(d[1] or '0') < now + hold then
      redis.call('HSET', device, 'next', now + hold, 'held', ARGV[a + 7])
    end
    if d[2] == '1' and redis.call('XLEN', jobs) * 2 < tonumber(d[3] or '0') then
      redis.call('HSET', device, 'more', 0)
      redis.call('SADD', hungry, name)
    end
    return 'ok'
  end
  if not held and w[2] == gen and w[3] == token and w[1] ~= 'W' and w[1] ~= 'S' then
    if w[1] ~= 'U' or kind == 'unknown' then return 'dup' end
    record('1')
    return 'late'
  end
  if not w[1] then
    -- Declared unknown and forgotten meanwhile: what is known now still belongs in the ledger.
    record('1')
    return 'stale'
  end
  if kind == 'sent' then
    -- Whatever the job is doing now, it was sent: nobody may start to send it again.
    if w[1] == 'L' then end_lease(leases, device, name, id) end
    if w[1] == 'L' or w[1] == 'W' then remove_entry(jobs, w[3]) end
    if w[1] == 'P' then
      result(results, kind, id, row, name, gen, token, 'code', ARGV[a + 7], 'text', ARGV[a + 8], 'pid', ARGV[a + 9],
        'by', ARGV[a + 10], 'ms', ARGV[a + 11], 'late', '1')
    else
      record('1')
    end
  end
  return 'stale'
end

local out, a = {}, 2
for k = 6, #KEYS, 3 do
  out[#out + 1] = decide(KEYS[k], KEYS[k + 1], KEYS[k + 2], a)
  place(ready, KEYS[k + 1], KEYS[k], ARGV[a])
  a = a + 13
end
return out
