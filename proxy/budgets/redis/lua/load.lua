-- Have counters again that were dropped. ARGV: epoch, then for each: bucket, group, how often it was dropped when the ledger was
-- asked, what that said. One that is here already stays; one that was here, and dropped again meanwhile, is to be asked for anew.
-- Returns {"loaded"}, or {"closed"}.
if state() ~= 'open' then return {'closed'} end
for at = 2, #ARGV, 4 do
  if redis.call('HGET', base .. 'gone', ARGV[at]) == ARGV[at + 2] then
    redis.call('HSETNX', base .. 's:' .. ARGV[at], ARGV[at + 1], ARGV[at + 3])
  end
end
return {'loaded'}
