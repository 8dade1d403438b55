-- The counters are rebuilt: from now on this epoch grants. ARGV: epoch, then those whose
-- batches are in the sums that it was made of (none is named by an earlier version). Returns {"open"}, {"more"} where another one
-- ships into the ledger, or {"closed"} where it does not run.
local how = state()
if not how then return {'closed'} end
if how == 'recovering' then
  local known = {}
  for at = 2, #ARGV do known[ARGV[at]] = true end
  for _, name in ipairs(#ARGV > 1 and redis.call('SMEMBERS', base .. 'shipping') or {}) do
    if not known[name] then return {'more'} end
  end
  local server = string.match(redis.call('GET', root .. ':epoch'), '(%S+)$')
  redis.call('SET', root .. ':epoch', epoch .. ' open ' .. server)
  redis.call('PUBLISH', root .. ':epochs', 'open')
end
return {'open'}
