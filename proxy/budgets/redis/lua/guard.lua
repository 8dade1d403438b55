-- The guards of a session, whose calls may go through any process. Its calls are known as its costs are (session.lua): the latest
-- sessions, for a day. Bills are known for a minute, requests for as long as they are compared.
-- ARGV: epoch, session, then "bill" and an amount; or "ask", the most calls, the most cost a minute, the most repetitions ("" each
-- where that is not guarded), within how many seconds, and a digest of the request.
-- Returns {calls, cost of the last minute, repetitions} from before this call, which is counted where it is within all of them.
if not state() then return {'closed'} end
local MOST, MINUTE_S = 50000, 60
local session, now = ARGV[2], clock()
local bills, billed = base .. 'guard:bills:' .. session, base .. 'guard:billed:' .. session

if ARGV[3] == 'bill' then
  redis.call('RPUSH', bills, string.format('%.6f %s', now, ARGV[4]))
  redis.call('INCRBY', billed, ARGV[4])
  redis.call('EXPIRE', bills, MINUTE_S)
  redis.call('EXPIRE', billed, MINUTE_S)
  return {'0', '0', '0'}
end

local most_calls, most_cost, most_repeats = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local latest, before = base .. 'guards', base .. 'guards:before'
local seen = base .. 'guard:seen:' .. ARGV[8] .. ':' .. session
local calls, cost, repeats = 0, 0, 0

if most_calls then
  calls = tonumber(redis.call('HGET', latest, session) or redis.call('HGET', before, session) or '0')
end
if most_cost then
  local oldest = redis.call('LINDEX', bills, 0)
  while oldest and tonumber(string.match(oldest, '^%S+')) <= now - MINUTE_S do
    redis.call('LPOP', bills)
    redis.call('DECRBY', billed, string.match(oldest, '%S+$'))
    oldest = redis.call('LINDEX', bills, 0)
  end
  cost = oldest and tonumber(redis.call('GET', billed) or '0') or 0
end
if most_repeats then
  for _, at in ipairs(redis.call('LRANGE', seen, 0, -1)) do
    if tonumber(at) > now - tonumber(ARGV[7]) then repeats = repeats + 1 end
  end
end

local is_within = not (most_calls and calls >= most_calls)
  and not (most_cost and cost >= most_cost)
  and not (most_repeats and repeats >= most_repeats)
if is_within then
  if most_calls then
    if redis.call('HLEN', latest) >= MOST and redis.call('HEXISTS', latest, session) == 0 then
      redis.call('RENAME', latest, before)
    end
    redis.call('HDEL', before, session)
    redis.call('HSET', latest, session, digits(calls + 1))
    redis.call('EXPIRE', latest, REMEMBERED_S)
  end
  if most_repeats then
    redis.call('RPUSH', seen, string.format('%.6f', now))
    redis.call('LTRIM', seen, -most_repeats, -1)
    redis.call('PEXPIRE', seen, math.ceil(tonumber(ARGV[7]) * 1000))
  end
end
return {digits(calls), digits(cost), digits(repeats)}
