-- Add to what a session has cost, for the answer's headers; a session that is quiet for a day begins again.
-- ARGV: epoch, the session, amount. Returns {total}, or {"closed"}.
if not state() then return {'closed'} end
local name = base .. 'session:' .. ARGV[2]
local total = redis.call('INCRBY', name, ARGV[3])
redis.call('EXPIRE', name, REMEMBERED_S)
return {digits(total)}
