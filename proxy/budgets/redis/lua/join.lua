-- Which epoch runs? A server that is not the one which began it may have lost writes, so it begins a new one, in which nothing
-- is granted until its counters are rebuilt. So does one whose clock was ahead and was set right: windows that are far from now
-- were current for a while, and those of today may be dropped; only the ledger knows what was spent in these.
-- ARGV: "", the new epoch's id where one is needed. Returns {epoch, state, now}.
local found = redis.call('GET', root .. ':epoch')
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local id, how, began_on = string.match(found or '', '^(%S+) (%S+) (%S+)')
local latest = tonumber(id and redis.call('GET', root .. ':' .. id .. ':clock') or '0')
if began_on ~= server or latest > server_clock() + ENDED_KEPT_S then
  id, how = ARGV[2], 'recovering'
  redis.call('SET', root .. ':epoch', id .. ' ' .. how .. ' ' .. server)
  redis.call('PUBLISH', root .. ':epochs', how)
end
base = root .. ':' .. id .. ':'
return {id, how, string.format('%.6f', clock())}
