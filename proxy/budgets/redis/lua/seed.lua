-- Add what the ledger says was spent, once for each part. ARGV: epoch, the state that it has to be in, the part's name, bucket,
-- window end ("" for none), then for each counter: group, amount. Returns {"seeded"}, {"known"} or {"closed"}.
if state() ~= ARGV[2] then return {'closed'} end
if redis.call('SADD', base .. 'seeded', ARGV[3]) == 0 then return {'known'} end
for at = 6, #ARGV, 2 do
  redis.call('HINCRBY', base .. 's:' .. ARGV[4], ARGV[at], ARGV[at + 1])
end
if #ARGV > 5 then redis.call('HSET', base .. 'buckets', ARGV[4], ARGV[5]) end
return {'seeded'}
