-- Removes an entry; or, of every tower's, all of one picture, and says for a while that what was computed before now
-- stays so: a write that is under way elsewhere does not bring it back.
--
-- KEYS  books, new, kept, pinned, forgotten, namespaces: see keep.lua
-- ARGV  what the members' keys begin with, the namespace, the entry's key, '1' for every tower's, for how many
--       microseconds that is said, of how many at most
local prefix, key, everywhere = ARGV[1], ARGV[3], ARGV[4] == '1'

local function remove(namespace)
  local member = namespace .. ':' .. key
  redis.call('DEL', prefix .. member)
  local book = redis.call('HGET', KEYS[1], member)
  if book then
    redis.call('HDEL', KEYS[1], member)
    redis.call('HINCRBY', KEYS[1], '+' .. book:sub(1, 1), -tonumber(book:sub(2)))
  end
  for index = 2, 4 do redis.call('ZREM', KEYS[index], member) end
end

remove(ARGV[2])
if everywhere then
  for _, namespace in ipairs(redis.call('SMEMBERS', KEYS[6])) do remove(namespace) end
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  redis.call('ZADD', KEYS[5], now, key)
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - tonumber(ARGV[5]))
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[6]))
  redis.call('PEXPIRE', KEYS[5], math.ceil(tonumber(ARGV[5]) / 1000))
end
return 1
