#!lua
-- take.lua -- a worker takes devices that it will ask about.  One that dies with them has lost a question, which the
-- ledger asks again.
--
-- KEYS[1] meta  KEYS[2] checks   ARGV[1] incarnation  ARGV[2] how many
--
-- Returns name, "sender ref", name, "sender ref" ...
local refused = gate()
if refused then return refused end
local all = redis.call('HRANDFIELD', KEYS[2], ARGV[2], 'WITHVALUES')
for i = 1, #all, 2 do redis.call('HDEL', KEYS[2], all[i]) end
return all
