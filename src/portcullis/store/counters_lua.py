"""The timed scripts of ``counters_redis``: what ``counters.decide`` does, in a step of the server.

A count is a hash: ``v`` its value, ``e`` when it ends, ``k`` its kind. Numbers are doubles and
stay below 2^53. ``#index`` has every key in order, ``#ends`` when each may go from it.
"""

from typing import Final

from portcullis.store.redis_script import REFUSE

RESERVE: Final = (
    REFUSE
    + """
local micros, id = tonumber(ARGV[2]), ARGV[3]
local hold, lease, cut = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local function whole(n) return string.format('%.0f', n) end
local function value(key)
  local found = redis.call('HMGET', key, 'v', 'e')
  if not found[1] or tonumber(found[2]) <= now then return 0 end
  return tonumber(found[1])
end
local again = id ~= '' and redis.call('EXISTS', KEYS[3]) == 1
local after, said, over, latest = {}, {1}, -1, 0
for i = 4, #KEYS do
  local at = 7 + (i - 4) * 4
  local kind, x, y = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local fits, left, resets
  local more = x
  if again then more = 0 end
  if kind == 'a' then
    local used = value(KEYS[i])
    fits = used + math.max(x, 1) <= y
    after[i], left, resets = used + x, y - used - more, tonumber(ARGV[at + 3])
  elseif kind == 'r' then
    local arrival = math.max(value(KEYS[i]), micros) + more
    local depth = y * x
    fits = arrival - micros <= depth
    after[i] = arrival
    if fits then
      left, resets = math.floor((depth - arrival + micros) / x), arrival / 1000000
    else
      left, resets = 0, (arrival - depth) / 1000000
    end
  else
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    local taken = redis.call('ZCARD', KEYS[i])
    fits = taken < x
    left, resets = x - taken - 1, now + 1
    if again then left = x - taken end
  end
  if not fits and not again and resets > latest then over, latest = i - 4, resets end
  said[#said + 1] = whole(left)
  said[#said + 1] = string.format('%.6f', resets)
end
if again then
  redis.call('SET', KEYS[3], redis.call('GET', KEYS[3]), 'KEEPTTL')
  return said
end
if over >= 0 then return {0, over, string.format('%.6f', latest)} end
if id == '' then return said end
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 32)
for _, key in ipairs(old) do
  redis.call('ZREM', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
end
for i = 4, #KEYS do
  local at = 7 + (i - 4) * 4
  local kind, ends = ARGV[at], 0
  local empty = kind == 'a' and after[i] == 0
  if empty then ends = -1
  elseif kind == 's' then
    ends = now + lease
    redis.call('ZADD', KEYS[i], ends, id)
    ends = ends + 86400
  else
    ends = tonumber(ARGV[at + 3])
    if kind == 'r' then ends = after[i] / 1000000 end
    redis.call('HSET', KEYS[i], 'v', whole(after[i]), 'e', string.format('%.6f', ends), 'k', kind)
  end
  if not empty then
    redis.call('PEXPIREAT', KEYS[i], whole(math.ceil((ends + 60) * 1000)))
    local name = string.sub(KEYS[i], cut + 1)
    redis.call('ZADD', KEYS[1], 0, name)
    redis.call('ZADD', KEYS[2], ends, name)
  end
end
redis.call('SET', KEYS[3], string.format('%.6f', now + hold / 1000), 'PX', whole(hold + 60000))
return said
"""
)
"""KEYS: #index, #ends, the reservation, each want. ARGV: now, now in microseconds, the
reservation's id ('' takes nothing; one that holds already takes nothing more: a client that lost
its connection asks twice, and it is written again: WAIT waits for what its own connection wrote),
hold in milliseconds, lease in seconds, the prefix's length;
for each want: a(mount) amount ceiling end, r(ate) interval burst 0, s(lot) ceiling 0 0. Windows are
the caller's to say, so by a clock that is wrong nothing is taken."""

END: Final = """
local id, cut = ARGV[2], tonumber(ARGV[3])
local held = redis.call('GET', KEYS[1])
local alive = held and tonumber(held) > now
redis.call('DEL', KEYS[1])
for i = 4, #KEYS do
  local at = 4 + (i - 4) * 3
  local kind, change, ends = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if kind == 's' then
    redis.call('ZREM', KEYS[i], id)
  elseif (alive or change > 0) and (kind == 'r' or ends > now) then
    local found = redis.call('HMGET', KEYS[i], 'v', 'e')
    local used = 0
    if found[1] and tonumber(found[2]) > now then used = tonumber(found[1]) end
    used = math.min(math.max(used + change, 0), 9007199254740991)
    if kind == 'r' then ends = used / 1000000 end
    local name = string.sub(KEYS[i], cut + 1)
    if kind == 'a' and used == 0 then
      redis.call('DEL', KEYS[i])
      redis.call('ZREM', KEYS[2], name)
      redis.call('ZREM', KEYS[3], name)
    elseif used > 0 then
      redis.call('ZADD', KEYS[2], 0, name)
      redis.call('ZADD', KEYS[3], ends, name)
      redis.call('HSET', KEYS[i], 'v', string.format('%.0f', used),
        'e', string.format('%.6f', ends), 'k', kind)
      redis.call('PEXPIREAT', KEYS[i], string.format('%.0f', math.ceil((ends + 60) * 1000)))
    end
  end
end
return 1
"""
"""KEYS: the reservation, #index, #ends, each count or place. ARGV: now, the reservation's id, the
prefix's length; for each: kind, change, end. A count of nothing is none. What is given back is so
only while the reservation is held. A call ends, and its place is kept, whatever the clock: by the
server's own where the caller's is wrong."""

RENEW: Final = """
for i = 1, #KEYS, 2 do
  if redis.call('EXISTS', KEYS[i + 1]) == 1 then
    redis.call('ZADD', KEYS[i], now + tonumber(ARGV[2]), ARGV[(i + 5) / 2])
    redis.call('EXPIRE', KEYS[i], 86400)
  end
end
return 1
"""
"""KEYS: each place, and its reservation. ARGV: now, lease in seconds, and each reservation's id.
One that was lost meanwhile is taken again: its call runs, and has to count."""
