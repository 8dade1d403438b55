-- Begin a new epoch in place of this one, whose counters were made of sums that do not hold. ARGV: epoch, the new epoch's id.
-- Returns {"renewed"}, or {"over"} where this epoch does not run any more.
if not state() then return {'over'} end
local server = string.match(redis.call('GET', root .. ':epoch'), '(%S+)$')
redis.call('SET', root .. ':epoch', ARGV[2] .. ' recovering ' .. server)
redis.call('PUBLISH', root .. ':epochs', 'recovering')
return {'renewed'}
