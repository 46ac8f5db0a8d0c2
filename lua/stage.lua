#!lua
-- stage.lua -- make jobs known under their ids and generations, so that MySQL may then call them queued.
-- A staged job cannot be delivered.
--
-- KEYS[1] meta   KEYS[2] devices (set)   then for each device: ids
-- ARGV[1] incarnation   ARGV[2] window   then for each device: name, n, n x (id, gen)
--
-- Returns one string a job: "S" staged, "full" past the window, or the letter of the state it is in already
--         (W L P D U), in which case nothing was changed.
-- Cost    O(1) a job.  Same call again: same answer.
local refused = gate()
if refused then return refused end
local window, out, a = tonumber(ARGV[2]), {}, 3
for k = 3, #KEYS do
  local name, n = ARGV[a], tonumber(ARGV[a + 1])
  a = a + 2
  local depth, staged = redis.call('HLEN', KEYS[k]), false
  for _ = 1, n do
    local id, gen = ARGV[a], ARGV[a + 1]
    a = a + 2
    local s = redis.call('HGET', KEYS[k], id)
    local letter = s and string.sub(s, 1, 1)
    if letter and letter ~= 'S' and letter ~= 'R' then
      out[#out + 1] = letter
    elseif not letter and depth >= window then
      out[#out + 1] = 'full'
    else
      redis.call('HSET', KEYS[k], id, 'S ' .. gen)
      if not letter then depth = depth + 1 end
      staged = true
      out[#out + 1] = 'S'
    end
  end
  if staged then redis.call('SADD', KEYS[2], name) end
end
return out
