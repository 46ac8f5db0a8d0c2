#!lua flags=allow-oom
-- finish.lua -- record what came of deliveries: entry removed, result on its way to MySQL, device freed, and what
-- the outcome says of others is held.
-- Runs past maxmemory: knowledge of a send must always get in.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results  KEYS[5] hungry  KEYS[6] stopped  KEYS[7] holds
-- then for each delivery: jobs, device, ids, pairs
-- ARGV[1] incarnation
-- then for each delivery: device name, id, gen, token, row, kind (sent failed retry deferred returned unknown),
--      hold ms, code, text, provider id, worker, send ms, busy ms (from the permit to the answer: the slot of a
--      device that sends one at a time moves on by it, so that the gap lies between two requests as the provider
--      sees them, however late the first one reached it), act, told, who (the recipient, hashed), contact (as in
--      permit.lua), stop, alike, source
--   act     what the hold is about: "device" (it serves nothing before), "throttle" (the same, and its gaps
--           double), "pair" (this recipient), "new" (recipients to whom it has not sent), "recipient" (whichever
--           device it would come from: the ledger's part), "" nothing
--   told    1 = the provider named the hold's length; else it grows with each failure that follows another
--   stop    until a person resumes it: "source", "device", "account", "" nothing
--   alike   > 0: the ledger stops the source when so many of its messages have been refused with this code
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
local ready, leases, results, hungry, stopped, holds = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]

-- Doubling from a base, up to a cap that a longer base overrules.
local function grown(base, times, cap) return math.max(base, math.min(base * 2 ^ math.min(times - 1, 20), cap)) end

-- A failure for the device's own sake.  Those that were leased before the last one counted are the same failure.
-- An unknown outcome holds the device from the third on.
local function fail_device(device, kind, token, hold, code, told, throttled)
  local d = redis.call('HMGET', device, 'fails', 'fail_token', 'token', 'next', 'slow')
  local fails = tonumber(d[1] or '0')
  if tonumber(token) > tonumber(d[2] or '0') then
    fails = fails + 1
    redis.call('HSET', device, 'fails', fails, 'fail_token', d[3] or token)
    if throttled then redis.call('HSET', device, 'slow', math.min(tonumber(d[5] or '100') * 2, 1600)) end
  end
  if not told then hold = grown(hold, kind == 'unknown' and fails - 2 or fails, math.min(hold * 120, 3600000)) end
  if kind == 'unknown' and fails < 3 then return end
  if hold > 0 and tonumber(d[4] or '0') < now + hold then redis.call('HSET', device, 'next', now + hold, 'held', code) end
end

-- A delivery that went well: the breaker closes, and gaps shrink back by a twentieth of what they are too long.
local function heal_device(device, contact)
  local d = redis.call('HMGET', device, 'fails', 'slow', 'new_until')
  if d[1] then redis.call('HDEL', device, 'fails', 'fail_token') end
  if d[2] then
    local slow = math.floor(100 + (tonumber(d[2]) - 100) * 0.95)
    if slow > 100 then redis.call('HSET', device, 'slow', slow) else redis.call('HDEL', device, 'slow') end
  end
  if contact == '2' and tonumber(d[3] or now + 1) <= now then
    redis.call('HDEL', device, 'new_until', 'new_count', 'new_code')
  end
end

-- One recipient of this device: four times as long at each hit that follows another within ten minutes.
local function hold_pair(pairs_key, who, hold)
  local w = words(redis.call('HGET', pairs_key, who))
  local count = (w[1] and tonumber(w[1]) + 600000 > now) and tonumber(w[2]) + 1 or 1
  hold = math.min(hold * 4 ^ math.min(count - 1, 10), math.max(hold, 256000))
  if not w[1] and redis.call('HLEN', pairs_key) % 1000 == 999 then
    local all = redis.call('HGETALL', pairs_key)
    for i = 1, #all, 2 do
      if tonumber(words(all[i + 1])[1]) + 600000 < now then redis.call('HDEL', pairs_key, all[i]) end
    end
  end
  redis.call('HSET', pairs_key, who, (now + hold) .. ' ' .. count)
  redis.call('PEXPIRE', pairs_key, math.max(hold + 600000, redis.call('PTTL', pairs_key)))
  return hold
end

local function hold_new_contacts(device, hold, code, told)
  local d = redis.call('HMGET', device, 'new_until', 'new_count')
  local count = tonumber(d[2] or '0')
  if tonumber(d[1] or '0') <= now then count = count + 1 end
  if not told then hold = grown(hold, count, 86400000) end
  local ends = math.max(now + hold, tonumber(d[1] or '0'))
  redis.call('HSET', device, 'new_until', ends, 'new_count', count, 'new_code', code)
  return ends - now
end

-- What the outcome says of others.  Returns the words that the ledger has to know of it.  permitted: it may be the
-- provider's answer to a request; else the job was given up before.
local function act_upon(device, pairs_key, a, permitted)
  local kind, hold, code, act, told = ARGV[a + 5], tonumber(ARGV[a + 6]), ARGV[a + 7], ARGV[a + 13], ARGV[a + 14] == '1'
  local stop, alike = ARGV[a + 17], ARGV[a + 18]
  local more = {}
  if kind == 'sent' then heal_device(device, ARGV[a + 16]) end
  if act == 'device' or act == 'throttle' then
    fail_device(device, kind, ARGV[a + 3], hold, code, told, act == 'throttle')
  elseif act == 'pair' then
    more = {'wait', hold_pair(pairs_key, ARGV[a + 15], hold)}
  elseif act == 'new' then
    local left = hold_new_contacts(device, hold, code, told)
    more = {'wait', left, 'new', left}
  elseif act == 'recipient' then
    more = {'rest', hold}
  elseif hold > 0 then
    more = {'wait', hold}
  end
  if kind ~= 'unknown' then
    local answered = permitted and act == '' and hold == 0 and (kind == 'sent' or kind == 'failed' or kind == 'retry')
    end_probe(holds, device, ARGV[a], answered)
  end
  if stop == 'source' then
    if redis.call('HGET', stopped, ARGV[a + 19]) ~= 'cancelled' then redis.call('HSET', stopped, ARGV[a + 19], 'paused') end
  elseif stop ~= '' then
    redis.call('HSET', device, 'paused', code)
    redis.call('PERSIST', device)
  end
  if stop ~= '' then
    more[#more + 1] = 'stop'
    more[#more + 1] = stop
  end
  if alike ~= '0' then
    more[#more + 1] = 'alike'
    more[#more + 1] = alike
  end
  return more
end

local function decide(jobs, device, ids, pairs_key, a)
  local name, id, gen, token, row, kind = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local letter = kind == 'unknown' and 'U ' or (kind == 'retry' or kind == 'deferred' or kind == 'returned') and 'R ' or 'D '
  local function note(late, ...)
    result(results, kind, id, row, name, gen, token, 'code', ARGV[a + 7], 'text', ARGV[a + 8], 'pid', ARGV[a + 9],
      'by', ARGV[a + 10], 'ms', ARGV[a + 11], 'late', late, ...)
  end
  local function record(late, ...)
    redis.call('HSET', ids, id, letter .. gen .. ' ' .. token .. ' ' .. kind)
    note(late, ...)
  end
  local w = words(redis.call('HGET', ids, id))
  local held = w[1] == 'L' or w[1] == 'P'
  if held and w[2] == gen and w[4] == token then
    end_lease(leases, device, name, id)
    remove_entry(jobs, w[3])
    local busy = tonumber(ARGV[a + 12])
    local d = redis.call('HMGET', device, 'max_in_flight', 'more', 'window')
    if busy > 0 and (d[1] or '1') == '1' then redis.call('HINCRBY', device, 'next', busy) end
    record('0', unpack(act_upon(device, pairs_key, a, w[1] == 'P')))
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
    if w[1] == 'P' then note('1') else record('1') end
  end
  return 'stale'
end

local out, a = {}, 2
for k = 8, #KEYS, 4 do
  out[#out + 1] = decide(KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], a)
  place(ready, KEYS[k + 1], KEYS[k], ARGV[a])
  a = a + 20
end
return out
