#!lua
-- activate.lua -- put staged jobs into their device's stream: from now on they can be delivered.
--
-- KEYS[1] meta   KEYS[2] ready   then for each device: ids, jobs, device
-- ARGV[1] incarnation   ARGV[2] wake channel   ARGV[3] partition
-- then for each device: name, config version, max in flight, gap min, gap max, batch, batch pause, hourly
--      cap, daily cap, quiet, paused ("" = no), sender, account, ref, window, more (1 = MySQL may hold more that is due),
--      n, n x (id, gen, row, source, expires in ms or 0, payload version, payload)
--
-- Returns one number a job: 1 waiting (now or already), 0 not staged with this generation: nothing done.
-- A device's configuration is taken over with its first job that becomes waiting, unless Redis has a newer one.
-- Cost    O(1) a job.  Publishes the partition once when a device has newly become ready.
local refused = gate()
if refused then return refused end
local out, a, wake = {}, 4, false

-- The device gets what its first job needs: its pace, unless Redis was told a newer one, and its stream.
local function prepare(device, jobs, at)
  if tonumber(redis.call('HGET', device, 'config') or '-1') < tonumber(ARGV[at + 1]) then
    redis.call('HSET', device, 'config', ARGV[at + 1], 'max_in_flight', ARGV[at + 2], 'gap_min', ARGV[at + 3],
      'gap_max', ARGV[at + 4], 'batch', ARGV[at + 5], 'batch_pause', ARGV[at + 6], 'hour_cap', ARGV[at + 7],
      'day_cap', ARGV[at + 8], 'quiet', ARGV[at + 9])
    if ARGV[at + 10] == '' then redis.call('HDEL', device, 'paused')
    else redis.call('HSET', device, 'paused', ARGV[at + 10]) end
    redis.call('HSET', device, 'sender', ARGV[at + 11], 'account', ARGV[at + 12], 'ref', ARGV[at + 13])
  end
  redis.call('HSET', device, 'window', ARGV[at + 14], 'more', ARGV[at + 15])
  redis.call('HSETNX', device, 'next', now)
  redis.call('PERSIST', device)
  if redis.call('EXISTS', jobs) == 0 then redis.call('XGROUP', 'CREATE', jobs, 'fleet', '0', 'MKSTREAM') end
end

for k = 3, #KEYS, 3 do
  local ids, jobs, device, name = KEYS[k], KEYS[k + 1], KEYS[k + 2], ARGV[a]
  local head, n, prepared = a, tonumber(ARGV[a + 16]), false
  a = a + 17
  for _ = 1, n do
    local id, gen = ARGV[a], ARGV[a + 1]
    local s = redis.call('HGET', ids, id)
    if s == 'S ' .. gen then
      if not prepared then
        prepare(device, jobs, head)
        prepared = true
      end
      local expires = tonumber(ARGV[a + 4])
      if expires > 0 then expires = now + expires end
      local entry = redis.call('XADD', jobs, '*', 'id', id, 'gen', gen, 'row', ARGV[a + 2], 'src', ARGV[a + 3],
        'exp', expires, 'v', ARGV[a + 5], 'job', ARGV[a + 6])
      redis.call('HSET', ids, id, 'W ' .. gen .. ' ' .. entry)
      out[#out + 1] = 1
    else
      local w = words(s)
      out[#out + 1] = (w[1] and w[1] ~= 'S' and w[2] == gen) and 1 or 0
    end
    a = a + 7
  end
  if place(KEYS[2], device, jobs, name) then wake = true end
end
if wake then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return out
