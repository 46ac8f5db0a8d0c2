#!lua flags=allow-oom
-- probe.lua -- what does Redis know of these devices and jobs?
--
-- KEYS[1] meta   then for each device: ids, jobs, device, feeder
-- ARGV[1] incarnation  ARGV[2] mode  ARGV[3] producer  ARGV[4] ms
--   look      nothing else
--   unstage   a staged job with the named generation or an older one is forgotten (whoever staged it finds
--             nothing to activate)
--   feed      the producer takes the device's feeder lease for ms, unless another holds it: one producer at a
--             time fills a device, so that its jobs enter the stream in the order of their rows
--   unfeed    the producer gives its feeder lease back
-- then for each device: n, n x (id, gen)
--
-- Returns for each device {ids known, jobs in the stream, why it must not be fed or "", state letter of each job or ""}
local refused = gate()
if refused then return refused end
local mode, producer = ARGV[2], ARGV[3]
local out, a = {}, 5
for k = 2, #KEYS, 4 do
  local n = tonumber(ARGV[a])
  a = a + 1
  local row = {0, redis.call('XLEN', KEYS[k + 1]), redis.call('HGET', KEYS[k + 2], 'paused') or ''}
  if mode == 'feed' or mode == 'unfeed' then
    local feeder = redis.call('GET', KEYS[k + 3])
    if feeder and feeder ~= producer then row[3] = 'fed by ' .. feeder
    elseif mode == 'feed' then redis.call('SET', KEYS[k + 3], producer, 'PX', ARGV[4])
    elseif feeder then redis.call('DEL', KEYS[k + 3]) end
  end
  for _ = 1, n do
    local w = words(redis.call('HGET', KEYS[k], ARGV[a]))
    if w[1] == 'S' and mode == 'unstage' and tonumber(w[2]) <= tonumber(ARGV[a + 1]) then
      redis.call('HDEL', KEYS[k], ARGV[a])
      row[#row + 1] = ''
    else
      row[#row + 1] = w[1] or ''
    end
    a = a + 2
  end
  row[1] = redis.call('HLEN', KEYS[k])
  out[#out + 1] = row
end
return out
