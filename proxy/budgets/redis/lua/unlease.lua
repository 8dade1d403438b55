-- A run is over. ARGV: epoch, run, "ask" or "end". Asked first: no report of it is taken any more; returns {"over", the number of
-- the last one that was}. Then, once what that lacks is charged: its lease is given back; returns {"over"}. {"", ""} where it has
-- none: then everything that it used is reported. Or {"closed"}.
if not state() then return {'closed'} end
local name = lease_name(ARGV[2])
if redis.call('EXISTS', base .. name) == 0 then return {'', ''} end
local lease = load_lease(name)
if ARGV[3] == 'ask' then
  lease.over = true
  redis.call('SET', base .. name, cmsgpack.pack(lease), 'KEEPTTL')
  return {'over', digits(lease.number)}
end
if lease.expired then revive(lease) end
for counter_name, held in pairs(lease.held) do
  local bucket, group = string.match(counter_name, '^(.-)\n(.*)$')
  change('r:', bucket, group, -tonumber(held))
  change('f:', bucket, group, -tonumber(lease.free[counter_name] or '0'))
  tell(bucket, group)
end
lease.held, lease.free = {}, {}
save_lease(name, lease, 0)
return {'over'}
