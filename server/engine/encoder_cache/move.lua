-- Notes that an entry was hit (the first time promotes it), or is pinned, or no longer.
--
-- KEYS  the entry, books, new, kept, pinned: see keep.lua
-- ARGV  the member, what to do ('hit', 'pin', 'unpin'), capacity: half of it may be pinned
-- gives 1, or 0 where the entry is not there or too much is pinned already
local member, verb, capacity = ARGV[1], ARGV[2], tonumber(ARGV[3])
local books, sets = KEYS[2], {n = KEYS[3], k = KEYS[4], p = KEYS[5]}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local bytes = redis.call('STRLEN', KEYS[1])
if bytes == 0 then return 0 end
local book = redis.call('HGET', books, member)
local segment = book and book:sub(1, 1)
local to = verb == 'pin' and 'p' or 'k'
if verb == 'hit' and segment == 'p' then to = 'p' end
if verb == 'pin' and segment ~= 'p' then
  if (tonumber(redis.call('HGET', books, '+p')) or 0) + bytes > capacity / 2 then return 0 end
end
if book and segment ~= to then
  redis.call('HINCRBY', books, '+' .. segment, -tonumber(book:sub(2)))
  redis.call('ZREM', sets[segment], member)
end
-- One that the books have lost is entered again.
if segment ~= to then
  redis.call('HINCRBY', books, '+' .. to, bytes)
  redis.call('HSET', books, member, to .. bytes)
end
redis.call('ZADD', sets[to], now, member)
return 1
