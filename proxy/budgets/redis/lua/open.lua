-- The counters are rebuilt: from now on this epoch grants. ARGV: epoch. Returns {"open"}, or {"closed"} where it does not run.
local how = state()
if not how then return {'closed'} end
if how == 'recovering' then
  local server = string.match(redis.call('GET', root .. ':epoch'), '(%S+)$')
  redis.call('SET', root .. ':epoch', epoch .. ' open ' .. server)
  redis.call('PUBLISH', root .. ':epochs', 'open')
end
return {'open'}
