-- Which epoch runs? A server that is not the one which began it may have lost writes, so it begins a new one, in which nothing
-- is granted until its counters are rebuilt. ARGV: "", the new epoch's id where one is needed. Returns {epoch, state, now}.
local found = redis.call('GET', root .. ':epoch')
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local id, how, began_on = string.match(found or '', '^(%S+) (%S+) (%S+)')
if began_on ~= server then
  id, how = ARGV[2], 'recovering'
  redis.call('SET', root .. ':epoch', id .. ' ' .. how .. ' ' .. server)
  redis.call('PUBLISH', root .. ':epochs', how)
end
base = root .. ':' .. id .. ':'
return {id, how, string.format('%.6f', clock())}
