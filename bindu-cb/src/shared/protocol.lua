-- The record of a circuit at the server: `apply` of protocol.rs, line for line where it can be.
--
-- To change one: KEYS are its state, its votes and the namespace's changes; ARGV the action, the
-- operation, the channel, the version seen (epoch, generation), the deadline, the keep, and what the
-- action needs. Returns the time, the answer, and the record as a message.
--
-- To read some: KEYS are their states; ARGV `read` and their operations. Returns the time, and for
-- each a message, nil, or the number of a schema that this script cannot read.
--
-- Everything is read, and so found to be of its type, before the first write. That is an HSET, which
-- a server without memory refuses; what comes after it in a script no server refuses for that.

local SCHEMA = 1
local LAST = 9007199254740991
-- A namespace's changes: enough for what happens between two looks at them.
local CHANGES = 4096
local NUMBERS = {
  'epoch', 'generation', 'revision', 'until', 'wait', 'reopens', 'expires', 'lease', 'ttl',
}
local TEXTS = {'state', 'owner', 'who', 'why'}
local STATES = {closed = true, open = true, forced_open = true, forced_closed = true}

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- `tostring` would round.
local function text(number)
  return string.format('%.0f', number)
end

-- What is stored, or nil; and what it is to this moment: nil if it has expired.
local function load(key)
  local found = redis.call('HMGET', key, 'schema', unpack(NUMBERS))
  local schema = found[1]
  if not schema then
    return nil, nil
  end
  if tonumber(schema) ~= SCHEMA then
    return nil, nil, tonumber(schema) or 0
  end
  local stored, record = {}, {}
  for i, name in ipairs(NUMBERS) do
    stored[name] = tonumber(found[i + 1])
  end
  found = redis.call('HMGET', key, unpack(TEXTS))
  for i, name in ipairs(TEXTS) do
    stored[name] = found[i] or nil
  end
  for _, name in ipairs({
    'epoch', 'generation', 'revision', 'until', 'wait', 'reopens', 'lease', 'ttl',
  }) do
    -- What is missing has been taken out by hand: no reason to fail.
    if stored.owner or name ~= 'lease' and name ~= 'ttl' then
      stored[name] = stored[name] or 0
    end
  end
  if not STATES[stored.state] then
    return nil, nil, 0
  end
  if stored.expires and now >= stored.expires then
    return stored, nil
  end
  for name, value in pairs(stored) do
    record[name] = value
  end
  return stored, record
end

local function set_right(record)
  if record.state == 'open' then
    record['until'] = math.min(record['until'], now + record.wait)
  end
  if record.owner then
    record.lease = math.min(record.lease, math.max(record['until'], now) + record.ttl)
  end
end

-- Remaining times, never moments: nobody else has this clock.
local function message(op, change, record)
  local function left(moment)
    return text(math.max(moment - now, 0))
  end
  local lease = record.owner and left(record.lease)
  local fields = {
    text(SCHEMA), op, change, text(record.epoch), text(record.generation),
    text(record.revision), record.state, left(record['until']), text(record.wait), text(record.reopens), record.who or false,
    record.why or false, record.owner or false, lease or false,
  }
  for i, field in ipairs(fields) do
    fields[i] = field and (#field .. ':' .. field) or '-'
  end
  return table.concat(fields)
end

if ARGV[1] == 'read' then
  local read = {}
  for i, key in ipairs(KEYS) do
    local _, record, newer = load(key)
    if record then
      set_right(record)
      read[i] = message(ARGV[i + 1], false, record)
    else
      read[i] = newer or false
    end
  end
  return {now, read}
end

local action, op, channel = ARGV[1], ARGV[2], ARGV[3]
local seen = {epoch = tonumber(ARGV[4]), generation = tonumber(ARGV[5])}
local deadline, keep = tonumber(ARGV[6]), tonumber(ARGV[7])
local stored, record, newer = load(KEYS[1])

if newer then
  return {now, 'schema', false}
end
local is_late = deadline ~= 0 and now > deadline
local revision = record and record.revision or 0
if record then
  set_right(record)
end

-- What is to become of the votes: kept as they are, dropped, or with this one until then.
local votes = record and 'kept' or 'dropped'
local voter, vote_until

local function minted()
  return math.min(math.max(now, seen.epoch + 1), LAST)
end

local function made()
  votes = 'dropped'
  return {
    epoch = minted(), generation = 0, state = 'closed', ['until'] = 0, wait = 0, reopens = 0,
    expires = now,
  }
end

local function become_next(state, wait, reopens, who, why)
  votes = 'dropped'
  return {
    epoch = record.epoch, generation = math.min(record.generation + 1, LAST), state = state,
    ['until'] = state == 'open' and now + wait or 0, wait = wait, reopens = reopens,
    expires = record.expires, who = who, why = why,
  }
end

local function keeping()
  local rests_at = now
  if record.state == 'open' then
    rests_at = math.max(now, record['until'], record.lease or 0)
  end
  local is_forced = record.state == 'forced_open' or record.state == 'forced_closed'
  if record.expires == nil or record.who or is_forced then
    record.expires = nil
  else
    record.expires = math.max(record.expires, rests_at + keep)
  end
  return 'done'
end

local function is_stale()
  return record == nil or record.epoch ~= seen.epoch or record.generation ~= seen.generation
end

local actions = {}

function actions.vote()
  local wait, reopens, quorum = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
  if not record then
    record = made()
  elseif is_stale() then
    return 'stale'
  end
  if record.state ~= 'closed' then
    return 'done'
  end
  -- This one among those that count, and the others that no longer do.
  local count, over, before = 1, 0, nil
  if votes == 'kept' then
    before = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[8]))
    count = redis.call('ZCOUNT', KEYS[2], '(' .. text(now), '+inf')
    over = redis.call('ZCOUNT', KEYS[2], '-inf', text(now))
    if not before or before <= now then
      count = count + 1
      over = over - (before and 1 or 0)
    end
  end
  voter, vote_until = ARGV[8], now + wait
  record.expires = record.expires and math.max(record.expires, vote_until)
  if count >= quorum then
    record = become_next('open', wait, reopens)
    return keeping()
  end
  if before ~= vote_until or over > 0 then
    votes = votes == 'kept' and 'another' or 'first'
  end
  return keeping()
end

function actions.lease()
  local owner, ttl, lead = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
  if is_stale() or record.state ~= 'open' then
    return 'stale'
  end
  if now + lead < record['until'] then
    return 'early'
  end
  if record.owner and record.lease > now and record.owner ~= owner then
    return 'held'
  end
  record.owner, record.lease, record.ttl = owner, math.max(record['until'], now) + ttl, ttl
  return keeping()
end

function actions.give_back()
  if is_stale() or record.state ~= 'open' or record.owner ~= ARGV[8] then
    return 'stale'
  end
  record.owner, record.lease, record.ttl = nil, nil, nil
  return keeping()
end

function actions.outcome()
  local owner, success, wait = ARGV[8], ARGV[9] == '1', tonumber(ARGV[10])
  if is_stale() or record.state ~= 'open' or record.owner ~= owner or record.lease <= now then
    return 'stale'
  end
  if success then
    record = become_next('closed', 0, 0)
  else
    record = become_next('open', wait, math.min(record.reopens + 1, 255))
  end
  return keeping()
end

function actions.manual()
  local state, who, why = ARGV[8], ARGV[9], ARGV[10]
  local is_already = record and record.state == state and record.who == who and record.why == why
  if is_already and redis.call('ZCARD', KEYS[2]) == 0 then
    return 'done'
  end
  record = record or made()
  record = become_next(state, 0, 0, who, why)
  return keeping()
end

function actions.restore()
  local state, left = ARGV[8], tonumber(ARGV[9])
  local wait, reopens = tonumber(ARGV[10]), tonumber(ARGV[11])
  local expires = now
  if record then
    local is_newer = record.epoch > seen.epoch
      or record.epoch == seen.epoch and record.generation > seen.generation
    if is_newer or not is_stale() and record.state == state then
      return 'stale'
    end
    expires = record.expires
  end
  local is_open = state == 'open'
  record = {
    epoch = minted(), generation = 1, state = state,
    ['until'] = is_open and now + math.min(left, wait) or 0, wait = is_open and wait or 0,
    reopens = is_open and reopens or 0, expires = expires, who = ARGV[12], why = ARGV[13],
  }
  votes = 'dropped'
  return keeping()
end

local answer = is_late and 'late' or actions[action]()

local function has_changed()
  if not record then
    return false
  end
  if not stored or votes ~= 'kept' then
    return true
  end
  for _, names in ipairs({NUMBERS, TEXTS}) do
    for _, name in ipairs(names) do
      -- A record that takes its place has none yet.
      if stored[name] ~= record[name] and name ~= 'revision' then
        return true
      end
    end
  end
  return false
end

if is_late or not has_changed() then
  return {now, answer, record and message(op, false, record) or false}
end

record.revision = math.min(revision + 1, LAST)
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local count = last and tonumber(last[2][2]) + 1 or 1

-- A user who may not do all of it does nothing of it (Redis 7).
if redis.acl_check_cmd then
  local needed = {
    {'HSET', KEYS[1], 'schema', '1'}, {'HDEL', KEYS[1], 'who'}, {'PERSIST', KEYS[1]},
    {'PEXPIREAT', KEYS[1], '1'}, {'DEL', KEYS[2]}, {'ZADD', KEYS[2], '1', 'a'},
    {'ZREMRANGEBYSCORE', KEYS[2], '-inf', '0'}, {'XADD', KEYS[3], '*', 'n', '1'},
    {'PUBLISH', channel, ''},
  }
  for _, command in ipairs(needed) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user may not ' .. command[1] .. ' ' .. command[2])
    end
  end
end

local set, unset = {'schema', text(SCHEMA)}, {}
for _, names in ipairs({NUMBERS, TEXTS}) do
  for _, name in ipairs(names) do
    local value = record[name]
    if value then
      set[#set + 1] = name
      set[#set + 1] = type(value) == 'number' and text(value) or value
    else
      unset[#unset + 1] = name
    end
  end
end
redis.call('HSET', KEYS[1], unpack(set))
if #unset > 0 then
  redis.call('HDEL', KEYS[1], unpack(unset))
end
if votes == 'dropped' or votes == 'first' then
  redis.call('DEL', KEYS[2])
elseif votes == 'another' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now))
end
if votes == 'first' or votes == 'another' then
  redis.call('ZADD', KEYS[2], text(vote_until), voter)
end
for _, key in ipairs({KEYS[1], KEYS[2]}) do
  if record.expires then
    redis.call('PEXPIREAT', key, text(record.expires))
  else
    redis.call('PERSIST', key)
  end
end
local change =
  redis.call('XADD', KEYS[3], 'MAXLEN', CHANGES, '*', 'n', text(count), 'op', op)
local news = message(op, change, record)
redis.call('PUBLISH', channel, news)
return {now, answer, news}
