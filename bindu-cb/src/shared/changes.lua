-- Which circuits of a namespace have changed since a cursor: KEYS are its changes, ARGV the cursor's
-- entry and count (none for a first look). Returns the time and one of
--
--   same                      nothing has
--   changed, cursor, ops      these have, each with its latest entry
--   start, cursor             a first look
--   behind, cursor            what the cursor says has been trimmed: read everything
--   lost, cursor              it is not of this history: read everything, and restore
--
-- The changes are a stream that is trimmed to a number of entries and never expires. Its entries are
-- counted from 1, so a stream that begins later has been trimmed, and one that does not, and does not
-- have the cursor's entry, has lost it: flushed, restarted, or failed over to a server that had not
-- heard of it. (A history that is lost and begun anew within one millisecond is taken for the old one:
-- its entries bear the same marks. If more has happened since than the cursor had counted, it says
-- `behind`, which asks for the same reading.)

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local key, cursor, counted = KEYS[1], ARGV[1], tonumber(ARGV[2])

local function count(entry)
  return tonumber(entry[2][2])
end

local function says(status)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if not last then
    return {now, status, '0-0', 0}
  end
  return {now, status, last[1], count(last)}
end

if not cursor then
  return says('start')
end
local entries
if counted > 0 then
  entries = redis.call('XRANGE', key, cursor, '+')
  local first = entries[1]
  if not first or first[1] ~= cursor or count(first) ~= counted then
    local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    return says(oldest and count(oldest) > counted and 'behind' or 'lost')
  end
  table.remove(entries, 1)
else
  entries = redis.call('XRANGE', key, '-', '+')
  if entries[1] and count(entries[1]) > 1 then
    return says('behind')
  end
end
if #entries == 0 then
  return {now, 'same'}
end
local ops, is_known = {}, {}
for i = #entries, 1, -1 do
  local op = entries[i][2][4]
  if not is_known[op] then
    is_known[op] = true
    ops[#ops + 1] = op
    ops[#ops + 1] = entries[i][1]
  end
end
local reply = says('changed')
reply[5] = ops
return reply
