#!lua flags=allow-oom
-- probe.lua -- what does Redis know of these devices and jobs?
--
-- KEYS[1] meta   then for each device: ids, jobs, device
-- ARGV[1] incarnation  ARGV[2] "unstage": a staged job with the named generation or an older one is forgotten
--                      (whoever staged it finds nothing to activate), or "look"
-- then for each device: n, n x (id, gen)
--
-- Returns for each device {ids known, jobs in the stream, paused reason or "", state letter of each job or ""}
local refused = gate()
if refused then return refused end
local out, a = {}, 3
for k = 2, #KEYS, 3 do
  local n = tonumber(ARGV[a])
  a = a + 1
  local row = {0, redis.call('XLEN', KEYS[k + 1]), redis.call('HGET', KEYS[k + 2], 'paused') or ''}
  for _ = 1, n do
    local w = words(redis.call('HGET', KEYS[k], ARGV[a]))
    if w[1] == 'S' and ARGV[2] == 'unstage' and tonumber(w[2]) <= tonumber(ARGV[a + 1]) then
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
