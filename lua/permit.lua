#!lua
-- permit.lua -- the last thing before the socket: may this delivery go out now?
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results  KEYS[5] stopped  KEYS[6] holds
-- then for each delivery: jobs, device, ids, pairs
-- ARGV[1] incarnation  ARGV[2] lease ms
-- then for each delivery: device name, id, gen, token, row, source, gap ms, batch, batch pause ms, who (the
--      recipient, hashed), contact (0 nobody has looked, 1 the device has sent to it before, 2 it has not)
--
-- Returns one string a delivery:
--   go       permitted (or permitted already by this very token: its reply was lost); the device's next
--            slot has moved by the gap
--   stale    the lease is not this token's any more: forget the job
--   stopped  its source was paused or cancelled, or its recipient has to wait (pair, new contact): settled here
--   paused | wait | capped   given back to the head of its queue; the device is served again later
-- Cost    O(log devices) a delivery, one INFO a call.
local refused = gate()
if refused then return refused end
if not same_server(string.match(ARGV[1], '^(%x+):')) then return redis.error_reply('EPOCH another server answered') end
local ready, leases, results, stopped, holds = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local lease = tonumber(ARGV[2])

-- Sliding caps in rings of buckets: 12 + 1 of five minutes, 24 + 1 of an hour.  The oldest, partly elapsed
-- bucket counts in full, so a true window never exceeds the cap.  Returns 0, or when there is room again.
local rings = {{field = 'hour_cap', mark = 'h', width = 300000, n = 13}, {field = 'day_cap', mark = 'd', width = 3600000, n = 25}}
local function ring_room(device, ring, cap)
  if cap < 1 then return 0 end
  local bucket, names = math.floor(now / ring.width), {}
  for i = 0, ring.n - 1 do names[#names + 1] = ring.mark .. ((bucket - i) % ring.n) end
  local sum, oldest = 0, nil
  for i, v in ipairs(redis.call('HMGET', device, unpack(names))) do
    local w = words(v or '')
    if w[1] == tostring(bucket - i + 1) then
      sum = sum + tonumber(w[2])
      oldest = bucket - i + 1
    end
  end
  if sum < cap then return 0 end
  return (oldest + ring.n) * ring.width
end
local function ring_count(device, ring)
  local bucket = math.floor(now / ring.width)
  local field = ring.mark .. (bucket % ring.n)
  local w = words(redis.call('HGET', device, field) or '')
  local n = (w[1] == tostring(bucket)) and tonumber(w[2]) or 0
  redis.call('HSET', device, field, bucket .. ' ' .. (n + 1))
end

-- Why this recipient has to wait for this device, and how long; nil when it has not.  A contact of which nobody
-- knows goes back to where that is known, and tells there that it has to be.
local function recipient_waits(pairs_key, new, who, contact)
  local ends = tonumber(new or '0')
  if ends > now and contact ~= '1' then
    if contact == '2' then return 'new-contacts', ends - now, 0 end
    return 'new-contacts', 0, ends - now
  end
  ends = tonumber(words(redis.call('HGET', pairs_key, who))[1] or '0')
  if ends > now then return 'pair', ends - now, 0 end
end

local function decide(jobs, device, ids, pairs_key, a)
  local name, id, gen, token, row, src = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local w = words(redis.call('HGET', ids, id))
  if (w[1] ~= 'L' and w[1] ~= 'P') or w[2] ~= gen or w[4] ~= token then return 'stale' end
  if w[1] == 'P' then
    redis.call('ZADD', leases, now + lease, name .. '/' .. id)
    return 'go'
  end
  local function take_out(kind, code, ...)
    end_lease(leases, device, name, id)
    remove_entry(jobs, w[3])
    redis.call('HSET', ids, id, (kind == 'returned' and 'R ' or 'D ') .. gen .. ' ' .. token .. ' ' .. kind)
    end_probe(holds, device, name)
    result(results, kind, id, row, name, gen, token, 'code', code, ...)
    return 'stopped'
  end
  local state = redis.call('HGET', stopped, src)
  if state then return take_out(state == 'cancelled' and 'skipped' or 'returned', state) end
  local d = redis.call('HMGET', device, 'paused', 'next', 'hour_cap', 'day_cap', 'in_batch', 'slow', 'new_until')
  local answer
  if d[1] then answer = 'paused'
  elseif tonumber(d[2] or '0') > now then answer = 'wait'
  elseif held_back(holds_of(holds, device), device, name) then answer = 'wait'
  else
    local why, wait, new = recipient_waits(pairs_key, d[7], ARGV[a + 9], ARGV[a + 10])
    if why then return take_out('returned', why, 'wait', wait, 'new', new) end
    local until_ = math.max(ring_room(device, rings[1], tonumber(d[3] or '0')),
      ring_room(device, rings[2], tonumber(d[4] or '0')))
    if until_ > 0 then
      answer = 'capped'
      redis.call('HSET', device, 'next', until_, 'held', 'capped')
    end
  end
  if answer then
    end_lease(leases, device, name, id)
    redis.call('HSET', ids, id, 'W ' .. gen .. ' ' .. w[3])
    end_probe(holds, device, name)
    return answer
  end
  for _, ring in ipairs(rings) do
    local cap = ring.field == 'hour_cap' and d[3] or d[4]
    if tonumber(cap or '0') > 0 then ring_count(device, ring) end
  end
  local gap, batch = tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7])
  if d[6] then gap = math.floor(math.max(gap, 10) * tonumber(d[6]) / 100) end
  local in_batch = tonumber(d[5] or '0') + 1
  if batch > 0 and in_batch >= batch then
    gap = gap + tonumber(ARGV[a + 8])
    in_batch = 0
  end
  redis.call('HSET', ids, id, 'P ' .. gen .. ' ' .. w[3] .. ' ' .. token .. ' ' .. (w[5] or '-'))
  redis.call('HSET', device, 'next', now + gap, 'in_batch', in_batch)
  redis.call('HDEL', device, 'held')
  redis.call('ZADD', leases, now + lease, name .. '/' .. id)
  return 'go'
end

local out, a = {}, 3
for k = 7, #KEYS, 4 do
  out[#out + 1] = decide(KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], a)
  place(ready, KEYS[k + 1], KEYS[k], ARGV[a])
  a = a + 11
end
return out
