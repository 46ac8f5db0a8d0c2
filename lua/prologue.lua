-- prologue.lua -- what every verb starts with.  Embedded in front of each verb at build time.
--
-- KEYS[1] is always the partition's meta hash and ARGV[1] the incarnation that the caller knows
-- ("<run id>:<random>").  A verb that finds another one answers EPOCH and has changed nothing; one that
-- finds the partition closed for recovery answers CLOSED and has changed nothing.
--
-- A job's state is one string in the device's ids hash, words separated by blanks:
--   S gen                      staged: known, cannot be delivered yet
--   W gen entry                waiting in the stream
--   L gen entry token owner    leased to a worker, provably not sent
--   P gen entry token owner    permitted: the request may have left (entry "-", and its row behind the owner,
--                              when it was reasserted and its entry is lost)
--   D gen token kind           finished, result on its way to MySQL
--   R gen token kind           given back to MySQL, result on its way; may be staged again
--   U gen token unknown        outcome unknown, result on its way
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function gate(closed_too)
  local m = redis.call('HMGET', KEYS[1], 'inc', 'state')
  if m[1] ~= ARGV[1] then return redis.error_reply('EPOCH the partition has another incarnation') end
  if m[2] ~= 'open' and not closed_too then return redis.error_reply('CLOSED the partition is recovering') end
end

-- Asks the server itself who it is: a proxy that reconnected behind our back would otherwise pass the
-- gate with an incarnation that is still stored in a rolled-back meta hash.
local function same_server(run_id)
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') == run_id
end

local function words(s)
  local w = {}
  for x in string.gmatch(s or '', '%S+') do w[#w + 1] = x end
  return w
end

-- A device whose last deliveries failed for its own sake sends one at a time, until one goes well; likewise one
-- that probes behind a hold (probes), until it is claimed for with no hold left.
local function room(in_flight, max, fails, probes)
  return ((probes or tonumber(fails or '0') > 0) and 1 or tonumber(max or '1')) - tonumber(in_flight or '0')
end

-- Puts the device where the ready index wants it: in it, at its next slot, while it has waiting jobs and
-- room; out of it otherwise.  Returns the slot when the device has newly entered.
local function place(ready, device, jobs, name)
  local d = redis.call('HMGET', device, 'in_flight', 'max_in_flight', 'next', 'paused', 'fails', 'probes')
  if not d[4] and room(d[1], d[2], d[5], d[6]) > 0 and redis.call('XLEN', jobs) > tonumber(d[1] or '0') then
    local at = d[3] or now
    if redis.call('ZADD', ready, at, name) == 1 then return tonumber(at) end
  else
    redis.call('ZREM', ready, name)
  end
end

-- Ends a delivery that held a lease: the device has room again.
local function end_lease(leases, device, name, id)
  redis.call('ZREM', leases, name .. '/' .. id)
  if redis.call('HINCRBY', device, 'in_flight', -1) < 0 then redis.call('HSET', device, 'in_flight', 0) end
end

local function remove_entry(jobs, entry)
  if entry and entry ~= '-' then
    redis.call('XACK', jobs, 'fleet', entry)
    redis.call('XDEL', jobs, entry)
  end
end

-- A device that holds nothing leaves nothing but its pace, and that until its next slot has passed (a day
-- longer where it has caps, or was refused something: its messages wait in MySQL meanwhile).  A paused device
-- stays, a removed one goes at once.
local function rest(device)
  local d = redis.call('HMGET', device, 'next', 'paused', 'hour_cap', 'day_cap', 'new_until', 'fails', 'slow')
  if d[2] == 'removed' then redis.call('DEL', device) end
  if d[2] then return end
  local keep = math.max(tonumber(d[1] or '0') - now, tonumber(d[5] or '0') - now, 0) + 60000
  local capped = d[3] and (d[3] ~= '0' or d[4] ~= '0')
  if capped or d[5] or d[6] or d[7] then keep = keep + 90000000 end
  redis.call('PEXPIRE', device, keep)
end
local function retire(jobs, device, ids, devices, name)
  if redis.call('EXISTS', ids) == 0 and redis.call('XLEN', jobs) == 0 then
    redis.call('DEL', jobs)
    redis.call('SREM', devices, name)
    rest(device)
  end
end

-- What an account or an endpoint said about all of its devices, by field e:<sender> or a:<user>/<account>:
--   until count code [device]    no device of theirs is served before; behind it one that is named probes, and the
--                                others look again every second.  Before that they look every minute: whoever
--                                ends a hold has ended it for all of them
local function holds_of(holds, device)
  local list = {}
  if redis.call('EXISTS', holds) == 0 then return list end
  local d = redis.call('HMGET', device, 'sender', 'account')
  local fields = {'e:' .. (d[1] or ''), 'a:' .. (d[2] or '')}
  for i, v in ipairs(redis.call('HMGET', holds, unpack(fields))) do
    if v then
      local w = words(v)
      list[#list + 1] = {field = fields[i], ends = tonumber(w[1]), count = w[2], code = w[3], probe = w[4]}
    end
  end
  return list
end
-- Moves the slot of a device that one of them holds; true when one does.
local function held_back(list, device, name)
  local longest
  for _, h in ipairs(list) do
    if h.ends > now and h.probe ~= name and (not longest or h.ends > longest.ends) then longest = h end
  end
  if not longest then return false end
  local ends = math.min(longest.ends, now + (longest.probe and 1000 or 60000))
  redis.call('HSET', device, 'next', ends, 'held', longest.code)
  return true
end
-- The device's probe is over.  answered: what it probed holds nobody any more; else another device may probe at once.
-- (What was sent before a hold began and is answered behind it says nothing of it.)
local function end_probe(holds, device, name, answered)
  for _, h in ipairs(holds_of(holds, device)) do
    if h.probe == name and answered then redis.call('HDEL', holds, h.field)
    elseif h.probe == name then redis.call('HSET', holds, h.field, now .. ' ' .. h.count .. ' ' .. h.code) end
  end
end

local function result(results, kind, id, row, name, gen, token, ...)
  redis.call('XADD', results, '*', 'kind', kind, 'id', id, 'row', row, 'dev', name, 'gen', gen, 'tok', token, ...)
end
