-- Add what the ledger says was spent, once for each part. ARGV: epoch, the part's name, then for each counter: bucket, group,
-- window end ("" for none), amount. Returns {"seeded"}, {"known"} or {"closed"}.
if not state() then return {'closed'} end
if redis.call('SADD', base .. 'seeded', ARGV[2]) == 0 then return {'known'} end
for at = 3, #ARGV, 4 do
  add('s:', ARGV[at], ARGV[at + 1], ARGV[at + 3])
  redis.call('HSET', base .. 'buckets', ARGV[at], ARGV[at + 2])
end
return {'seeded'}
