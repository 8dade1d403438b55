-- A run's report on its lease: what it used since the last one, what it has in flight, and how much it wants to have free.
-- ARGV: epoch, run, report's number, deadline in so many s, share of a limit that all leases together may have free, then for
-- each counter: bucket, group, window start, window end ("" for none), limit, used, in flight, kept free, wanted free.
-- What is used, in flight and kept is so in any case; beyond what is kept, only as much as is free to give.
-- Returns {"leased", now, then for each counter: free, spent, reserved}; {"over"} where the run is known to be over; {"closed"}.
-- The same report again gives the same answer and changes nothing; nor does an older one, which was on its way for long.
if state() ~= 'open' then return {'closed'} end
local now, name, number, share = clock(), lease_name(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local ROOM_PART = 8 -- of what is left of a budget, one lease gets no more: so leases shrink as it is used up
local lease = load_lease(name)
if lease.over then return {'over'} end
if number <= lease.number then return lease.answer end
if lease.expired then revive(lease) end

local answer = {'leased', string.format('%.6f', now)}
for at = 6, #ARGV, 9 do
  local bucket, group, start, stop = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local limit, flying, kept, wanted = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8])
  local counter_name = bucket .. '\n' .. group
  local held, was_free = tonumber(lease.held[counter_name] or '0'), tonumber(lease.free[counter_name] or '0')
  local spent = add('s:', bucket, group, ARGV[at + 5])
  local reserved = tonumber(redis.call('HGET', base .. 'r:' .. bucket, group) or '0')
  local room = limit - spent - (reserved - held) - flying
  local others_free = tonumber(redis.call('HGET', base .. 'f:' .. bucket, group) or '0') - was_free
  local free = math.min(wanted, math.floor(room / ROOM_PART), math.floor(limit * share) - others_free)
  if now < start or (stop and now >= stop) or waited_for(counter_name, now) or gone(bucket, group) then free = 0 end
  free = math.max(free, kept)
  ends(bucket, ARGV[at + 3])
  reserved = change('r:', bucket, group, flying + free - held)
  change('f:', bucket, group, free - was_free)
  lease.held[counter_name] = flying + free > 0 and digits(flying + free) or nil
  lease.free[counter_name] = free > 0 and digits(free) or nil
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = digits(free), digits(spent), digits(reserved)
  tell(bucket, group)
end
lease.number, lease.answer = number, answer
save_lease(name, lease, now + tonumber(ARGV[4]))
return answer
