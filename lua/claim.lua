#!lua
-- claim.lua -- lease the next job of each named device that is due, and name the devices to ask for next.
--
-- KEYS[1] meta  KEYS[2] ready  KEYS[3] leases  KEYS[4] results  KEYS[5] stopped  KEYS[6] holds
-- then for each device: jobs, device, ids
-- ARGV[1] incarnation  ARGV[2] owner  ARGV[3] lease ms  ARGV[4] room (jobs at most)  ARGV[5] devices to name
-- then for each device: name
--
-- Returns {now, next due time or -1, {device names that are due}, {job, ...}} with each job as
--   {device, id, gen, token, row, source, gap min, gap max, batch, batch pause, quiet, payload version, payload,
--   account, sender, ref}
-- A job of a stopped source, or one that is too late, is settled on the way (result "returned" or
-- "skipped"); at most 50 of them a device and call.
-- A device whose account or endpoint is held waits for the end of that; behind it one job probes.
-- Cost    O(log devices) a device.  A lost reply leaves leases that reclaim gives back.
local refused = gate()
if refused then return refused end
local ready, leases, results, stopped, holds = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local probe_ms = 60000
local owner, lease, left_in_call, asked = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local jobs_out = {}

-- The device's next entries in order: first those that were given back (they are in the group's pending
-- list without a lease), then unread ones.
local function entries(jobs, in_flight, want)
  local list = {}
  local pending = redis.call('XPENDING', jobs, 'fleet')[1]
  if pending > in_flight then
    local r = redis.call('XREADGROUP', 'GROUP', 'fleet', 'w', 'COUNT', in_flight + want, 'STREAMS', jobs, '0')
    for _, e in ipairs(r and r[1] and r[1][2] or {}) do
      if e[2] then list[#list + 1] = e else redis.call('XACK', jobs, 'fleet', e[1]) end
    end
  end
  if #list < in_flight + want then
    local r = redis.call('XREADGROUP', 'GROUP', 'fleet', 'w', 'COUNT', want, 'STREAMS', jobs, '>')
    for _, e in ipairs(r and r[1] and r[1][2] or {}) do list[#list + 1] = e end
  end
  return list
end

local function fields(e)
  local f = {}
  for i = 1, #e[2], 2 do f[e[2][i]] = e[2][i + 1] end
  return f
end

-- A Redis that fell back to an older state has forgotten tokens that it handed out: whoever holds one for this job
-- would be taken for its new holder, and both be permitted.  So tokens of an incarnation begin at its time.
local since = tonumber(redis.call('HGET', KEYS[1], 'since') or '0')
local function next_token(device)
  local token = redis.call('HINCRBY', device, 'token', 1)
  if token >= since then return token end
  redis.call('HSET', device, 'token', since)
  return since
end

-- Settles what must not be sent; true when the entry is out of the way.
local function set_aside(ids, jobs, name, e, f)
  local state = redis.call('HGET', stopped, f.src)
  local kind, code
  if state == 'cancelled' then kind, code = 'skipped', 'cancelled'
  elseif state == 'paused' then kind, code = 'returned', 'paused'
  elseif f.exp ~= '0' and tonumber(f.exp) < now then kind, code = 'skipped', 'expired'
  else return false end
  remove_entry(jobs, e[1])
  redis.call('HSET', ids, f.id, (kind == 'returned' and 'R ' or 'D ') .. f.gen .. ' 0 ' .. kind)
  result(results, kind, f.id, f.row, name, f.gen, '0', 'code', code)
  return true
end

local function serve(jobs, device, ids, name)
  local d = redis.call('HMGET', device, 'in_flight', 'max_in_flight', 'next', 'paused', 'gap_min', 'gap_max', 'batch',
    'batch_pause', 'quiet', 'fails', 'account', 'probes', 'sender', 'ref')
  local in_flight = tonumber(d[1] or '0')
  local free = room(d[1], d[2], d[10])
  if d[4] or tonumber(d[3] or '0') > now or free < 1 or redis.call('EXISTS', jobs) == 0 then return end
  local over = holds_of(holds, device)
  if held_back(over, device, name) then return end
  if #over > 0 then
    redis.call('HSET', device, 'probes', 1)
    free = 1 - in_flight
    if free < 1 then return end -- it probes already, or waits for the answers to what it sent before
  elseif d[12] then
    redis.call('HDEL', device, 'probes')
  end
  if tonumber(d[6] or '0') > 0 then free = 1 end
  if free > left_in_call then free = left_in_call end
  local left = 50
  repeat
    local again = false
    for _, e in ipairs(entries(jobs, in_flight, free)) do
      if left < 1 then break end
      local f = fields(e)
      local s = redis.call('HGET', ids, f.id)
      if s ~= 'W ' .. f.gen .. ' ' .. e[1] then
        -- In flight already, or a stray entry that no id points to.
        local w = words(s)
        if not ((w[1] == 'L' or w[1] == 'P') and w[3] == e[1]) then
          remove_entry(jobs, e[1])
          again, left = true, left - 1
        end
      elseif set_aside(ids, jobs, name, e, f) then
        again, left = true, left - 1
      elseif free > 0 then
        local token = next_token(device)
        redis.call('HSET', ids, f.id, 'L ' .. f.gen .. ' ' .. e[1] .. ' ' .. token .. ' ' .. owner)
        redis.call('ZADD', leases, now + lease, name .. '/' .. f.id)
        in_flight = redis.call('HINCRBY', device, 'in_flight', 1)
        free, left_in_call = free - 1, left_in_call - 1
        for _, h in ipairs(over) do redis.call('HSET', holds, h.field, (now + probe_ms) .. ' ' .. h.count .. ' ' .. h.code .. ' ' .. name) end
        jobs_out[#jobs_out + 1] = {name, f.id, f.gen, tostring(token), f.row, f.src, d[5] or '0', d[6] or '0',
          d[7] or '0', d[8] or '0', d[9] or '', f.v, f.job, d[11] or '', d[13] or '', d[14] or ''}
      end
    end
  until not again or free < 1 or left < 1
end

local a = 6
for k = 7, #KEYS, 3 do
  if left_in_call > 0 then serve(KEYS[k], KEYS[k + 1], KEYS[k + 2], ARGV[a]) end
  place(ready, KEYS[k + 1], KEYS[k], ARGV[a])
  a = a + 1
end
local due = redis.call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', 0, asked)
local head = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
return {now, head[2] and math.floor(tonumber(head[2])) or -1, due, jobs_out}
