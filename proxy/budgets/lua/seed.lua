-- Add what the ledger says was spent, once for each part. ARGV: epoch, the state that it has to be in, the part's name, then for
-- each counter: bucket, group, window end ("" for none), amount. Returns {"seeded"}, {"known"} or {"closed"}.
if state() ~= ARGV[2] then return {'closed'} end
if redis.call('SADD', base .. 'seeded', ARGV[3]) == 0 then return {'known'} end
for at = 4, #ARGV, 4 do
  add('s:', ARGV[at], ARGV[at + 1], ARGV[at + 3])
  redis.call('HSET', base .. 'buckets', ARGV[at], ARGV[at + 2])
end
return {'seeded'}
