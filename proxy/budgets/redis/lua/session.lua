-- Add to what a session has cost, for the answer's headers. The latest are known, tens of thousands of them, for a day; one that was
-- quiet for longer begins again: clients make up sessions, and a store that is full would refuse every call.
-- ARGV: epoch, the session, amount. Returns {total}, or {"closed"}.
if not state() then return {'closed'} end
local MOST = 50000
local latest, before = base .. 'sessions', base .. 'sessions:before'
if redis.call('HLEN', latest) >= MOST and redis.call('HEXISTS', latest, ARGV[2]) == 0 then
  redis.call('RENAME', latest, before)
end
local known = redis.call('HGET', before, ARGV[2])
if known then
  redis.call('HDEL', before, ARGV[2])
  redis.call('HINCRBY', latest, ARGV[2], known)
end
local total = redis.call('HINCRBY', latest, ARGV[2], ARGV[3])
redis.call('EXPIRE', latest, REMEMBERED_S)
return {digits(total)}
