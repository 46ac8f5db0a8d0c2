#!lua flags=allow-oom
-- forget.lua -- after the MySQL commit: acknowledge results and drop their ids at once.  (Staging makes that
-- safe: a job can only come back through a fresh look at its row.)
--
-- KEYS[1] meta  KEYS[2] results  KEYS[3] devices   then for each result: jobs, device, ids
-- ARGV[1] incarnation   then for each result: its entry, device name, id, gen, token, kind
--
-- Returns the number of ids dropped; an id whose outcome has changed meanwhile (a late "sent" on its way)
-- stays until that one is forgotten.  The keys of a device that holds nothing go too; its pace stays until
-- its next slot has passed (a day longer where it has caps).
local refused = gate()
if refused then return refused end
local dropped, a = 0, 2
for k = 4, #KEYS, 3 do
  local jobs, device, ids = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  redis.call('XACK', KEYS[2], 'ledger', ARGV[a])
  redis.call('XDEL', KEYS[2], ARGV[a])
  local w = words(redis.call('HGET', ids, ARGV[a + 2]))
  if (w[1] == 'D' or w[1] == 'R' or w[1] == 'U') and w[2] == ARGV[a + 3] and w[3] == ARGV[a + 4]
    and w[4] == ARGV[a + 5] then
    redis.call('HDEL', ids, ARGV[a + 2])
    dropped = dropped + 1
    retire(jobs, device, ids, KEYS[3], ARGV[a + 1])
  end
  a = a + 6
end
return dropped
