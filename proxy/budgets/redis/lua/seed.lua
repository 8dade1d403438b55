-- Add what the ledger says was spent, once for each part. ARGV: epoch, the state that it has to be in, the part's name, bucket,
-- window end ("" for none), then for each counter: group, amount, how much of it is the base.
-- Returns {"seeded"}, {"known"}, {"older"} where an earlier version did it, which noted no bases, or {"closed"}.
if state() ~= ARGV[2] then return {'closed'} end
local based = ARGV[3] .. '\nbased'
if redis.call('SADD', base .. 'seeded', ARGV[3]) == 0 then
  if #ARGV > 5 and redis.call('SISMEMBER', base .. 'seeded', based) == 0 then return {'older'} end
  return {'known'}
end
if #ARGV > 5 then
  redis.call('SADD', base .. 'seeded', based)
  ends(ARGV[4], ARGV[5])
end
for at = 6, #ARGV, 3 do
  redis.call('HINCRBY', base .. 's:' .. ARGV[4], ARGV[at], ARGV[at + 1])
  set_base(ARGV[4], ARGV[at], ARGV[at + 2])
end
return {'seeded'}
