#!lua flags=allow-oom
-- swept.lua -- after rows and Redis were compared in full under this incarnation: a doubt is settled.
--
-- KEYS[1] meta   ARGV[1] incarnation   Returns 1.
local refused = gate(true)
if refused then return refused end
redis.call('HSET', KEYS[1], 'swept', ARGV[1])
redis.call('HDEL', KEYS[1], 'doubt')
return 1
