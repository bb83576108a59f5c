-- Draws one request's costs from the budgets of its subjects, all or nothing; or, forced, settles one that has ended.
-- The arithmetic is that of accounts.py, operation by operation. Everything falls away by itself once it is idle.
--
-- KEYS  of each subject: its levels (a hash) and its leases (a sorted set: which request has a place, until when)
-- ARGV  the time in microseconds ('' for the store's own), the request's lease, for how long ('' gives it back),
--       '1' to force; then of each subject: its places (-1 for any number), how many rates, and of each rate its
--       name, its limit a minute and what to draw
-- gives 1 where all of it was drawn, else 0; then of each subject its places that are taken and its levels
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local lease, lease_us, forced = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local fits, at, subjects = true, 5, {}

for number = 1, #KEYS, 2 do
  local places, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local subject = {places = places, names = {}, limits = {}, costs = {}, levels = {}, taken = 0}
  for index = 1, count do
    local rate = at - 1 + 3 * index
    subject.names[index] = ARGV[rate]
    subject.limits[index], subject.costs[index] = tonumber(ARGV[rate + 1]), tonumber(ARGV[rate + 2])
  end
  at = at + 2 + 3 * count
  local stored = redis.call('HMGET', KEYS[number], 'at', unpack(subject.names))
  local before = tonumber(stored[1]) or now
  subject.at = math.max(before, now)
  for index = 1, count do
    local level = (tonumber(stored[index + 1]) or 0) - (subject.at - before) * subject.limits[index] / 60000000
    subject.levels[index] = subject.limits[index] > 0 and math.max(0, level) or 0
    fits = fits and subject.levels[index] + subject.costs[index] <= subject.limits[index]
  end
  if places >= 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[number + 1], '-inf', now)
    subject.taken = redis.call('ZCARD', KEYS[number + 1])
    fits = fits and subject.taken < places
  end
  subjects[(number + 1) / 2] = subject
end

local answer = {(fits or forced) and 1 or 0}
for number, subject in ipairs(subjects) do
  local levels, leases = KEYS[2 * number - 1], KEYS[2 * number]
  local idle_ms, fields = 0, {'at', string.format('%.0f', subject.at)}
  if fits or forced then
    for index, name in ipairs(subject.names) do
      local limit, level = subject.limits[index], math.max(0, subject.levels[index] + subject.costs[index])
      subject.levels[index] = level
      fields[2 * index + 1], fields[2 * index + 2] = name, string.format('%.17g', level)
      if limit > 0 then idle_ms = math.max(idle_ms, math.ceil(level / limit * 60000)) end
    end
    if #subject.names > 0 then
      redis.call('HSET', levels, unpack(fields))
      redis.call('PEXPIRE', levels, idle_ms + 1000)
    end
    if subject.places >= 0 and not lease_us then
      redis.call('ZREM', leases, lease)
    elseif subject.places >= 0 then
      redis.call('ZADD', leases, string.format('%.0f', now + lease_us), lease)
      redis.call('PEXPIRE', leases, math.ceil(lease_us / 1000))
      subject.taken = subject.taken + 1
    end
  end
  answer[#answer + 1] = subject.taken
  for _, level in ipairs(subject.levels) do answer[#answer + 1] = string.format('%.17g', level) end
end
return answer
