-- From now on, of a group of this bucket that is not here only the ledger knows. ARGV: epoch, bucket. Returns {"kept", the groups
-- that are here}, or {"closed"}.
if not state() then return {'closed'} end
redis.call('HINCRBY', base .. 'gone', ARGV[2], 1)
local answer = {'kept'}
for _, kind in ipairs({'s:', 'r:'}) do
  for _, group in ipairs(redis.call('HKEYS', base .. kind .. ARGV[2])) do answer[#answer + 1] = group end
end
return answer
