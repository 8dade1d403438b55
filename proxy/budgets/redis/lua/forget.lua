-- Drop the counters of windows that are over for an hour and in which nothing is reserved any more. ARGV: epoch. Returns {how many}.
if not state() then return {'closed'} end
local now, dropped = clock(), 0
local buckets = redis.call('HGETALL', base .. 'buckets')
for i = 1, #buckets, 2 do
  local bucket, stop = buckets[i], tonumber(buckets[i + 1])
  if stop and stop + ENDED_KEPT_S <= now and redis.call('EXISTS', base .. 'r:' .. bucket) == 0 then
    redis.call('UNLINK', base .. 's:' .. bucket, base .. 'z:' .. bucket, base .. 'b:' .. bucket)
    redis.call('HDEL', base .. 'buckets', bucket)
    redis.call('HDEL', base .. 'defined', bucket)
    dropped = dropped + 1
  end
end
return {digits(dropped)}
