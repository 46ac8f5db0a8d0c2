#!lua
-- checked.lua -- what a provider said of a device goes to the ledger, among the results.
--
-- KEYS[1] meta  KEYS[2] results   ARGV[1] incarnation  ARGV[2] device name  ARGV[3] online | offline  ARGV[4] text
--      ARGV[5] worker
--
-- Returns 1.  Same call again: told twice, which changes nothing.
local refused = gate()
if refused then return refused end
result(KEYS[2], ARGV[3], '', '0', ARGV[2], '0', '0', 'text', ARGV[4], 'by', ARGV[5])
return 1
