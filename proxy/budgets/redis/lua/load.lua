-- Have counters again that were dropped. ARGV: epoch, then for each: bucket, group, how often it was dropped when the ledger was
-- asked, what that said, how much of it is the base. One that is here already stays; one that was here, and dropped again meanwhile, is to be asked for anew.
-- Returns {"loaded"}, or {"closed"}.
if state() ~= 'open' then return {'closed'} end
for at = 2, #ARGV, 5 do
  if redis.call('HGET', base .. 'gone', ARGV[at]) == ARGV[at + 2] then
    if redis.call('HSETNX', base .. 's:' .. ARGV[at], ARGV[at + 1], ARGV[at + 3]) == 1 then
      set_base(ARGV[at], ARGV[at + 1], ARGV[at + 4])
    end
  end
end
return {'loaded'}
