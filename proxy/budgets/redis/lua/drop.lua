-- Drop counters without a reservation that are what the ledger says: whoever needs one again has it loaded from there.
-- ARGV: epoch, bucket, then for each: group, what the ledger says. Returns {how many}, or {"closed"} where this epoch is not open.
if state() ~= 'open' then return {'closed'} end
local bucket, dropped = ARGV[2], 0
redis.call('HINCRBY', base .. 'gone', bucket, 1)
for at = 3, #ARGV, 2 do
  local group = ARGV[at]
  local held = redis.call('HEXISTS', base .. 'r:' .. bucket, group) + redis.call('HEXISTS', base .. 'z:' .. bucket, group)
  if held == 0 and redis.call('HGET', base .. 's:' .. bucket, group) == ARGV[at + 1] then
    dropped = dropped + redis.call('HDEL', base .. 's:' .. bucket, group)
    set_base(bucket, group, '0')
  end
end
return {digits(dropped)}
