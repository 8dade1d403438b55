-- What expired and is not written yet. ARGV: epoch, how many at most.
-- Returns for each: id, smaller or "", record, number of claims, and bucket, group and amount of each. Or {"closed"}.
if not state() then return {'closed'} end
local answer = {'expired'}
for _, id in ipairs(redis.call('LRANGE', base .. 'expired', 0, tonumber(ARGV[2]) - 1)) do
  local reservation = load(id)
  local parts = {id, reservation[2], reservation[7], digits(#reservation[4])}
  for i, bucket in ipairs(reservation[4]) do
    parts[#parts + 1], parts[#parts + 2], parts[#parts + 3] = bucket, reservation[5][i], reservation[6][i]
  end
  answer[#answer + 1] = parts
end
return answer
