-- Stores one entry and makes room for it, all or nothing. Runs alone in the store: its books are never half written.
-- The operator's maxmemory, EXPIRE and allkeys-* may take any key from under the books: they heal as they are used.
--
-- KEYS  the entry, books (a hash: member -> segment and bytes; +n, +k, +p: the bytes of each segment), new, kept and
--       pinned (sorted sets: member -> when last hit), forgotten (a sorted set: key -> when), namespaces (a set)
-- ARGV  what the members' keys begin with, the namespace, the entry's key, its bytes, capacity, ms to live ('' for
--       ever), its age in microseconds, as its writer's own clock has it
-- gives what became of it (1 kept, 0 forgotten a moment ago, -1 no room), entries, bytes, entries evicted
local prefix, entry, capacity = ARGV[1], ARGV[4], tonumber(ARGV[5])
local member = ARGV[2] .. ':' .. ARGV[3]
local books, sets = KEYS[2], {n = KEYS[3], k = KEYS[4], p = KEYS[5]}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local evicted = 0

local function total(segment) return tonumber(redis.call('HGET', books, '+' .. segment)) or 0 end

local function held() return total('n') + total('k') + total('p') end

local function enter(name, segment, bytes, at)
  redis.call('HSET', books, name, segment .. bytes)
  redis.call('HINCRBY', books, '+' .. segment, bytes)
  redis.call('ZADD', sets[segment], at, name)
end

-- gives the segment that it was in
local function strike(name)
  local book = redis.call('HGET', books, name)
  for _, set in pairs(sets) do redis.call('ZREM', set, name) end
  if not book then return nil end
  redis.call('HDEL', books, name)
  redis.call('HINCRBY', books, '+' .. book:sub(1, 1), -tonumber(book:sub(2)))
  return book:sub(1, 1)
end

-- Books and order do not know of the same members: each learns from the other, and sums are added up anew.
local function restore()
  for segment, set in pairs(sets) do
    for _, name in ipairs(redis.call('ZRANGE', set, 0, -1)) do
      local book = redis.call('HGET', books, name)
      local bytes = not book and redis.pcall('STRLEN', prefix .. name)
      if type(bytes) == 'number' and bytes > 0 then
        redis.call('HSET', books, name, segment .. bytes)
      elseif not book or book:sub(1, 1) ~= segment then
        redis.call('ZREM', set, name)
      end
    end
  end
  local all = redis.call('HGETALL', books)
  local sums = {n = 0, k = 0, p = 0}
  for index = 1, #all, 2 do
    local name, segment = all[index], all[index + 1]:sub(1, 1)
    if name:sub(1, 1) ~= '+' then
      sums[segment] = sums[segment] + tonumber(all[index + 1]:sub(2))
      redis.call('ZADD', sets[segment], 'NX', 0, name)
    end
  end
  for segment, bytes in pairs(sums) do redis.call('HSET', books, '+' .. segment, bytes) end
end

-- Entries that were never hit go first while they have more than a tenth: a scan takes no more than that from others.
local function oldest()
  local first, second = sets.k, sets.n
  if total('n') > capacity / 10 then first, second = sets.n, sets.k end
  return redis.call('ZRANGE', first, 0, 0)[1] or redis.call('ZRANGE', second, 0, 0)[1]
end

-- At most so many at once that others do not wait for long: the next entry goes on with it.
local function make_room(bytes)
  while held() > bytes and evicted < 1000 do
    local name = oldest()
    if not name then return false end
    redis.call('DEL', prefix .. name)
    strike(name)
    evicted = evicted + 1
  end
  return held() <= bytes
end

local function count()
  local entries = 0
  for _, set in pairs(sets) do entries = entries + redis.call('ZCARD', set) end
  return entries
end

local function answer(what) return {what, count(), held(), evicted} end

-- Computed before that, or so soon after it that its way here may be what lies between.
local forgotten = tonumber(redis.call('ZSCORE', KEYS[6], ARGV[3]))
if forgotten and now - tonumber(ARGV[7]) < forgotten + 5000000 then return answer(0) end
-- The first write is one that is refused over the operator's maxmemory: after any that is not, all would be let pass.
local refused = redis.pcall('HINCRBY', books, '+n', 0)
refused = type(refused) == 'table' and refused or nil
if refused and refused.err:sub(1, 3) ~= 'OOM' then return refused end

if redis.call('HLEN', books) - 3 ~= count() then restore() end
-- Five that chance picks: what expired or was taken is struck off before it counts for long.
for _, name in ipairs(redis.call('HRANDFIELD', books, 5)) do
  if name:sub(1, 1) ~= '+' and redis.call('EXISTS', prefix .. name) == 0 then strike(name) end
end
local segment = strike(member) or 'n'
redis.call('DEL', KEYS[1])
if #entry > math.min(capacity / 2, capacity - total('p')) or not make_room(capacity - #entry) then return answer(-1) end
if refused then
  -- As much of ours goes as is to come, or nothing is stored.
  local before = held()
  if before < #entry or not make_room(before - #entry) then return refused end
end
if ARGV[6] == '' then
  redis.call('SET', KEYS[1], entry)
else
  redis.call('SET', KEYS[1], entry, 'PX', ARGV[6])
end
redis.call('SADD', KEYS[7], ARGV[2])
enter(member, segment, #entry, now)
return answer(1)
