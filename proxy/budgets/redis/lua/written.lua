-- These are recorded where they cannot be lost; from now on they are remembered for a day. ARGV: epoch, ids. Returns {}.
for i = 2, #ARGV do
  redis.call('LREM', base .. 'expired', 1, ARGV[i])
  redis.call('EXPIRE', base .. 'a:' .. ARGV[i], REMEMBERED_S)
end
return {}
