-- What every verb shares; it stands before each of them.
--
-- KEYS[1] is the root of all names, versioned (`tm1`); ARGV[1] the epoch that the caller is in. Names are <root>:<epoch>:…, so
-- that what is left of another epoch, or arrives late from it, touches nothing of this one:
--   s:<bucket>  spent by group     r:<bucket>  reserved by group, where any is     (bucket: measure:window start:budget)
--   z:<bucket>  how many reservations of nothing are open, by group, where any is: they may cost something all the same
--   b:<bucket>  how much of s: is the base of the budget's definition, by group, where that is any
--   defined     bucket -> when the definition was taken whose bases these are
--   seeded      what was put in from the ledger: parts, and what control/seeding.py reads in them
--   buckets     bucket -> window end ("" where it has none)
--   gone        bucket -> how often groups of it were dropped: of a group that is not in s:<bucket>, only the ledger knows
--   a:<id>      a reservation: open, or what is remembered of its end
--   deadlines   ids of open reservations by deadline     expired   ids of expired ones that are not written yet
--   leases      leases by deadline
--   lease:<run> what a data plane has leased: amounts by counter, and the number of its last report
--   f:<bucket>  what of it is free, of all leases, by group
--   joined      runs that are in this epoch     reported    instances that ship nothing more before it is open
--   shipping    instances that may ship into the ledger while it is not open
--   clock       the latest time that was seen here, to the second
--   waited      counters that somebody waits for -> until when; their changes are told on the channel `room`
--
-- Lua's numbers are doubles, exact to 2^53, and amounts and limits stay below that; a sum may not. Counters are therefore only
-- ever changed by HINCRBY, with the caller's own digits. A sum that is compared with a limit is rounded above 2^53 only, where
-- it is above every limit, and rounding keeps order: decisions are exact.
--
-- KEYS[2], where it is there: this end was owed, and may have been in the ledger for long.
local root, epoch = KEYS[1], ARGV[1]
local late = KEYS[2] ~= nil
local base = root .. ':' .. epoch .. ':'
local REMEMBERED_S = 86400
local ENDED_KEPT_S = 3600 -- a clock that is set back by less finds what was spent in a window
local WAITED_S = 60 -- who waits longer asks again

-- "open", "recovering", or nil where this epoch is not the one that runs.
local function state()
  local found = redis.call('GET', root .. ':epoch')
  if not found then return nil end
  local id, how = string.match(found, '^(%S+) (%S+)')
  if id == epoch then return how end
  return nil
end

local function server_clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- Time never goes back in an epoch, but for less than a second: it is not written down more often. Where the server's clock was
-- ahead by more than it can come back, the epoch is over (join.lua). A full store costs no answer.
local function clock()
  local now = server_clock()
  local last = tonumber(redis.call('GET', base .. 'clock') or '0')
  if now < last then return last end
  if now >= last + 1 then redis.pcall('SET', base .. 'clock', string.format('%.6f', now)) end
  return now
end

local function digits(number)
  return string.format('%.0f', number)
end

-- When a bucket's window ends: of what is said, the latest. A budget's day and its month may begin together, and be one bucket.
local function ends(bucket, stop)
  local known = redis.call('HGET', base .. 'buckets', bucket)
  if known == stop or known == '' then return end
  if not known or stop == '' or tonumber(stop) > tonumber(known) then redis.call('HSET', base .. 'buckets', bucket, stop) end
end

local function counter(bucket, group)
  return redis.call('HGET', base .. 's:' .. bucket, group), redis.call('HGET', base .. 'r:' .. bucket, group)
end

local function gone(bucket, group)
  return redis.call('HEXISTS', base .. 'gone', bucket) == 1 and redis.call('HEXISTS', base .. 's:' .. bucket, group) == 0
end

-- Of some counters (a step apart in ARGV, from `first` on) those of which only the ledger knows, as the answer that has them
-- loaded: {"unknown", then for each: bucket, group, how often it was dropped}; nil where all are known. amount: how far behind a
-- bucket that of its change stands; a refund (see `left_out`) needs no counter.
local function unknown(first, step, amount)
  local answer = {'unknown'}
  for at = first, #ARGV, step do
    if gone(ARGV[at], ARGV[at + 1]) and not (amount and ARGV[at + amount]:sub(1, 1) == '-') then
      for _, word in ipairs({ARGV[at], ARGV[at + 1], redis.call('HGET', base .. 'gone', ARGV[at])}) do answer[#answer + 1] = word end
    end
  end
  return #answer > 1 and answer or nil
end

-- To a counter that was dropped nothing is added: the ledger has, or will have, all of it.
local function add(kind, bucket, group, amount)
  if kind == 's:' and amount ~= '0' and gone(bucket, group) then return 0 end
  if amount == '0' then
    return tonumber(redis.call('HGET', base .. kind .. bucket, group) or '0')
  end
  return redis.call('HINCRBY', base .. kind .. bucket, group, amount)
end

-- Whether a change may be in a counter already that was loaded from the ledger: each change is in the spool before it is told here.
-- One that takes something away is left out then, for rather too much is counted than too little.
local function left_out(bucket, group)
  return gone(bucket, group) or (late and redis.call('HEXISTS', base .. 'gone', bucket) == 1)
end

local function give_back(bucket, group, amount)
  local left = redis.call('HINCRBY', base .. 'r:' .. bucket, group, '-' .. amount)
  if left == 0 then redis.call('HDEL', base .. 'r:' .. bucket, group) end
  return left
end

local function hold(bucket, group, amount)
  if amount == '0' then redis.call('HINCRBY', base .. 'z:' .. bucket, group, 1) end
  return add('r:', bucket, group, amount)
end

local function let_go(bucket, group, amount)
  if amount ~= '0' then return give_back(bucket, group, amount) end
  if redis.call('HEXISTS', base .. 'z:' .. bucket, group) == 1 and redis.call('HINCRBY', base .. 'z:' .. bucket, group, -1) == 0 then
    redis.call('HDEL', base .. 'z:' .. bucket, group)
  end
  return add('r:', bucket, group, amount)
end

local function tell(bucket, group)
  local name = bucket .. '\n' .. group
  local till = redis.call('HGET', base .. 'waited', name)
  if not till then return end
  if tonumber(till) > clock() then
    local spent, reserved = counter(bucket, group)
    redis.call('PUBLISH', base .. 'room', name .. '\n' .. (spent or '0') .. '\n' .. (reserved or '0'))
  else
    redis.call('HDEL', base .. 'waited', name)
  end
end

-- A reservation: {state, smaller, soft, buckets, groups, amounts, record}. States: "open", "expired" (charged whole; a late
-- settlement corrects it), "closed" (nothing may come any more). Amounts are digits; smaller too, or "".
local function load(id)
  local packed = redis.call('GET', base .. 'a:' .. id)
  return packed and cmsgpack.unpack(packed)
end

local function close(id)
  redis.call('SET', base .. 'a:' .. id, cmsgpack.pack({'closed'}), 'NX', 'EX', REMEMBERED_S)
end

-- Give back what is reserved and count `amounts` (nil: nothing) as spent. Returns spent and reserved of each counter.
local function finish(reservation, amounts)
  local figures = {}
  for i, bucket in ipairs(reservation[4]) do
    local group = reservation[5][i]
    local reserved = let_go(bucket, group, reservation[6][i])
    local spent = add('s:', bucket, group, amounts and amounts[i] or '0')
    figures[#figures + 1] = spent
    figures[#figures + 1] = reserved
  end
  for i, bucket in ipairs(reservation[4]) do tell(bucket, reservation[5][i]) end
  return figures
end

-- Settle (amounts nil: release) by id. Returns how it ended, or false where it is unknown, and the figures.
local function resolve(id, amounts)
  local reservation = load(id)
  if not reservation or reservation[1] == 'closed' then return false, {} end
  if reservation[1] == 'open' then
    redis.call('DEL', base .. 'a:' .. id)
    redis.call('ZREM', base .. 'deadlines', id)
    return amounts and 'settled' or 'released', finish(reservation, amounts)
  end
  local figures = {}
  for i, bucket in ipairs(reservation[4]) do
    local group, amount = reservation[5][i], reservation[6][i]
    local used = amounts and amounts[i] or '0'
    local spent = add('s:', bucket, group, '0')
    if tonumber(used) >= tonumber(amount) or not left_out(bucket, group) then
      add('s:', bucket, group, used)
      spent = add('s:', bucket, group, amount == '0' and '0' or '-' .. amount)
    end
    figures[#figures + 1] = spent
    figures[#figures + 1] = redis.call('HGET', base .. 'r:' .. bucket, group) or '0'
    tell(bucket, group)
  end
  reservation[1] = 'closed'
  redis.call('SET', base .. 'a:' .. id, cmsgpack.pack(reservation), 'KEEPTTL')
  return 'expired', figures
end

-- Leases: {number, answer, held, free, expired, over}. held and free: digits by "bucket\ngroup", what the run has of a counter, and how
-- much of that is not in flight. A lease that expires is charged whole; one that is heard of again is as it was.
local function lease_name(run)
  return 'lease:' .. run
end

local function waited_for(name, now)
  local till = redis.call('HGET', base .. 'waited', name)
  return till and tonumber(till) > now
end

local function set_base(bucket, group, amount)
  if amount == '0' then
    redis.call('HDEL', base .. 'b:' .. bucket, group)
  else
    redis.call('HSET', base .. 'b:' .. bucket, group, amount)
  end
end

-- A hash field that is only there where it is not 0.
local function change(kind, bucket, group, amount)
  if amount == 0 then return tonumber(redis.call('HGET', base .. kind .. bucket, group) or '0') end
  local left = redis.call('HINCRBY', base .. kind .. bucket, group, digits(amount))
  if left == 0 then redis.call('HDEL', base .. kind .. bucket, group) end
  return left
end

local function load_lease(name)
  local packed = redis.call('GET', base .. name)
  if not packed then return {number = 0, held = {}, free = {}} end
  return cmsgpack.unpack(packed)
end

local function save_lease(name, lease, deadline)
  if next(lease.held) then
    redis.call('SET', base .. name, cmsgpack.pack(lease))
    redis.call('ZADD', base .. 'leases', string.format('%.6f', deadline), name)
  else
    redis.call('SET', base .. name, cmsgpack.pack(lease), 'EX', REMEMBERED_S)
    redis.call('ZREM', base .. 'leases', name)
  end
end

-- Count what a lease has as spent, instead of as reserved (sign: ''), or the other way round ('-').
local function charge_held(lease, sign)
  for counter_name, held in pairs(lease.held) do
    local bucket, group = string.match(counter_name, '^(.-)\n(.*)$')
    change('r:', bucket, group, sign == '' and -tonumber(held) or tonumber(held))
    add('s:', bucket, group, sign .. held)
    tell(bucket, group)
  end
end

local function expire(name)
  local lease = load_lease(name)
  charge_held(lease, '')
  lease.expired = true
  redis.call('SET', base .. name, cmsgpack.pack(lease))
  redis.call('ZREM', base .. 'leases', name)
end

local function revive(lease)
  charge_held(lease, '-')
  lease.expired = nil
end

-- Charge at most `most` reservations whose deadline is over; leases too, which are not counted.
local function sweep(now, most)
  local till = string.format('%.6f', now)
  local due = redis.call('ZRANGEBYSCORE', base .. 'deadlines', '-inf', till, 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    local reservation = load(id)
    finish(reservation, reservation[6])
    reservation[1] = 'expired'
    redis.call('SET', base .. 'a:' .. id, cmsgpack.pack(reservation))
    redis.call('RPUSH', base .. 'expired', id)
    redis.call('ZREM', base .. 'deadlines', id)
  end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', base .. 'leases', '-inf', till, 'LIMIT', 0, most)) do
    expire(name)
  end
  return #due
end
