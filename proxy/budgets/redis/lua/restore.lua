-- Put a reservation that stood in an earlier epoch into this one, whatever the counters say: the call is on its way.
-- ARGV: epoch, id, deadline, record, smaller or "", then for each claim: bucket, group, window end ("" for none), amount.
-- Returns {"restored"}, {"known"} or {"closed"}.
if not state() then return {'closed'} end
local id = ARGV[2]
if redis.call('EXISTS', base .. 'a:' .. id) == 1 then return {'known'} end
local buckets, groups, amounts = {}, {}, {}
for at = 6, #ARGV, 4 do
  buckets[#buckets + 1], groups[#groups + 1], amounts[#amounts + 1] = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  hold(ARGV[at], ARGV[at + 1], ARGV[at + 3])
  if ARGV[at + 2] == '' and not gone(ARGV[at], ARGV[at + 1]) then redis.call('HSETNX', base .. 's:' .. ARGV[at], ARGV[at + 1], '0') end
  ends(ARGV[at], ARGV[at + 2])
end
redis.call('SET', base .. 'a:' .. id, cmsgpack.pack({'open', ARGV[5], {}, buckets, groups, amounts, ARGV[4]}))
redis.call('ZADD', base .. 'deadlines', ARGV[3], id)
return {'restored'}
