-- A budget's definition is another: its base takes the place of the earlier one's, and what was counted here stays. ARGV: epoch, the
-- state that it has to be in, bucket, when the definition was taken, "adopt" where the bases are in the counters already, "whole"
-- where all that the ledger counted is, or "", window end ("" for none), then for each counter: group, base, what the ledger has
-- counted in it. A bucket that was not put in from the ledger as a whole may lack what was counted before this epoch: it has at
-- least what the ledger says.
-- Returns {"rebased"}, {"known"} where there is a later definition, or {"closed"}.
if state() ~= ARGV[2] then return {'closed'} end
local bucket, since = ARGV[3], ARGV[4]
local before = redis.call('HGET', base .. 'defined', bucket)
if before and tonumber(before) > tonumber(since) then return {'known'} end
-- Who asked the ledger before now has the earlier base, and asks again.
if before ~= since and redis.call('HEXISTS', base .. 'gone', bucket) == 1 then redis.call('HINCRBY', base .. 'gone', bucket, 1) end
redis.call('HSET', base .. 'defined', bucket, since)
local whole = ARGV[2] ~= 'open' or ARGV[5] == 'whole' or redis.call('SISMEMBER', base .. 'seeded', bucket .. '\nwhole') == 1
ends(bucket, ARGV[6])
for at = 7, #ARGV, 3 do
  local group, new, counted = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if ARGV[2] ~= 'open' or not gone(bucket, group) then
    local old = redis.call('HGET', base .. 'b:' .. bucket, group) or '0'
    if ARGV[5] ~= 'adopt' and new ~= old then
      redis.call('HINCRBY', base .. 's:' .. bucket, group, new)
      if old ~= '0' then redis.call('HINCRBY', base .. 's:' .. bucket, group, old:sub(1, 1) == '-' and old:sub(2) or '-' .. old) end
    end
    set_base(bucket, group, new)
    if not whole and ARGV[5] ~= 'adopt' then
      local spent, reserved = counter(bucket, group)
      local missing = counted - (tonumber(spent or '0') - tonumber(new) + tonumber(reserved or '0'))
      if missing > 0 then redis.call('HINCRBY', base .. 's:' .. bucket, group, digits(missing)) end
    end
    tell(bucket, group)
  end
end
return {'rebased'}
