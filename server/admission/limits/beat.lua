-- Renews what a gateway holds: its place among those that share the store, or the leases of its running requests.
--
-- KEYS  one sorted set
-- ARGV  for how many microseconds, then the members
-- gives how many are in the set that have not run out
local time = redis.call('TIME')
local now, lease_us = time[1] * 1000000 + time[2], tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for index = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease_us), ARGV[index])
end
redis.call('PEXPIRE', KEYS[1], math.ceil(lease_us / 1000))
return redis.call('ZCARD', KEYS[1])
