-- Add to what sessions have cost, for answers' headers. The latest are known, tens of thousands of them, for a day; one that was
-- quiet for longer begins again: clients make up sessions, and a store that is full would refuse every call.
-- ARGV: epoch, then a session and an amount each. Returns {total, …}, or {"closed"}.
if not state() then return {'closed'} end
local MOST = 50000
local latest, before = base .. 'sessions', base .. 'sessions:before'
local totals = {}
local older = redis.call('EXISTS', before) == 1
local room = 0 -- for so many at least
for at = 2, #ARGV, 2 do
  local name = ARGV[at]
  if room <= 0 then
    room = MOST - redis.call('HLEN', latest)
    if room <= 0 and redis.call('HEXISTS', latest, name) == 0 then
      redis.call('RENAME', latest, before)
      older, room = true, MOST
    end
  end
  room = room - 1
  local known = older and redis.call('HGET', before, name)
  if known then
    redis.call('HDEL', before, name)
    redis.call('HINCRBY', latest, name, known)
  end
  totals[#totals + 1] = digits(redis.call('HINCRBY', latest, name, ARGV[at + 1]))
end
redis.call('EXPIRE', latest, REMEMBERED_S)
return totals
