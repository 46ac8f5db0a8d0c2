#!lua flags=allow-oom
-- steer.lua -- pause, resume or cancel a source; pause, resume or configure a device.
--
-- KEYS[1] meta   then either KEYS[2] stopped   or KEYS[2] ready, KEYS[3] jobs, KEYS[4] device, KEYS[5] holds
-- ARGV[1] incarnation
--   "source", source, "paused" | "cancelled" | "none"
--   "device", name, config version, max in flight, gap min, gap max, batch, batch pause, hourly cap,
--             daily cap, quiet, paused ("" = no), sender, account, ref, wake channel, partition
--
-- A device whose sender or reference is mended is served at once, as is one that a person resumes: what held it, its breaker and its account's hold are over, and
-- behind its endpoint's it may probe.
-- Returns 1.  Works while the partition recovers, and past maxmemory.  Same call again: no change.
-- A device that was told a newer configuration keeps it: of two tellers, the one that read its row first may
-- come last.
local refused = gate(true)
if refused then return refused end
if ARGV[2] == 'source' then
  if ARGV[4] == 'none' then redis.call('HDEL', KEYS[2], ARGV[3])
  else redis.call('HSET', KEYS[2], ARGV[3], ARGV[4]) end
  return 1
end
local device = KEYS[4]
local known = redis.call('EXISTS', device) == 1
if not known and ARGV[13] == '' then return 1 end -- an idle device: it is configured when it gets a job
if tonumber(redis.call('HGET', device, 'config') or '0') > tonumber(ARGV[4]) then return 1 end
local d = redis.call('HMGET', device, 'held', 'in_flight', 'paused', 'sender', 'ref')
redis.call('HSET', device, 'config', ARGV[4], 'max_in_flight', ARGV[5], 'gap_min', ARGV[6], 'gap_max', ARGV[7],
  'batch', ARGV[8], 'batch_pause', ARGV[9], 'hour_cap', ARGV[10], 'day_cap', ARGV[11], 'quiet', ARGV[12],
  'sender', ARGV[14], 'account', ARGV[15], 'ref', ARGV[16])
local resumed = d[3] and ARGV[13] == ''
local mended = d[4] and (d[4] ~= ARGV[14] or d[5] ~= ARGV[16])
if mended then redis.call('HDEL', device, 'fails', 'fail_token') end
if resumed then
  redis.call('HDEL', device, 'paused', 'fails', 'fail_token')
  redis.call('HDEL', KEYS[5], 'a:' .. ARGV[15])
  for _, h in ipairs(holds_of(KEYS[5], device)) do redis.call('HSET', KEYS[5], h.field, now .. ' ' .. h.count .. ' ' .. h.code) end
elseif ARGV[13] ~= '' then
  redis.call('HSET', device, 'paused', ARGV[13])
  redis.call('PERSIST', device)
end
if d[1] == 'quiet' or (d[1] and (resumed or mended)) then
  redis.call('HSET', device, 'next', now)
  redis.call('HDEL', device, 'held')
end
if redis.call('EXISTS', KEYS[3]) == 0 and (d[2] or '0') == '0' then rest(device) end
if place(KEYS[2], device, KEYS[3], ARGV[3]) then redis.call('PUBLISH', ARGV[17], ARGV[18]) end
return 1
