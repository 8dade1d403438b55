-- Take every claim or none.
-- ARGV: epoch, id, deadline, record, then for each claim: bucket, group, window start, window end ("" for none), limit, amount,
-- least ("" where it cannot be smaller), "hard" or "soft".
-- Returns {"granted", smaller or "", number of each soft claim that it passes, …}, {"denied", then for each claim that is in
-- the way: "exceeded" or "busy", its number, spent, reserved}, {"moved", now}, {"unknown", …} where the ledger has to be asked,
-- or {"closed"} where this epoch does not run.
if state() ~= 'open' then return {'closed'} end
local now = clock()
sweep(now, 10)
local id = ARGV[2]
local function granted(reservation)
  local answer = {'granted', reservation[2]}
  for _, number in ipairs(reservation[3]) do answer[#answer + 1] = number end
  return answer
end

local before = load(id)
if before then
  if before[1] == 'open' then return granted(before) end
  return {'denied'}
end

local buckets, groups, amounts, soft, refused, new, smaller = {}, {}, {}, {}, {}, {}, nil
for at = 5, #ARGV, 8 do
  local start, stop = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if now < start or (stop and now >= stop) then return {'moved', string.format('%.6f', now)} end
end
local asks = unknown(5, 8)
if asks then return asks end
for at = 5, #ARGV, 8 do
  local number = (at - 5) / 8 + 1
  local bucket, group, limit, amount = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local spent, reserved = counter(bucket, group)
  if not spent and not reserved then new[#new + 1] = number end
  local left = limit - tonumber(spent or '0')
  local room = limit - (tonumber(spent or '0') + tonumber(reserved or '0'))
  buckets[number], groups[number], amounts[number] = bucket, group, ARGV[at + 5]
  if amount > room then
    local smallest = tonumber(ARGV[at + 6]) or amount
    local why = smallest > left and 'exceeded' or 'busy'
    if ARGV[at + 7] == 'soft' then
      soft[#soft + 1] = digits(number)
    elseif smallest <= room then
      smaller = smaller and math.min(smaller, room) or room
    else
      for _, value in ipairs({why, digits(number), spent or '0', reserved or '0'}) do refused[#refused + 1] = value end
    end
  end
end

if #refused > 0 then
  for i = 1, #refused, 4 do
    local number = tonumber(refused[i + 1])
    if refused[i] == 'busy' then
      redis.call('HSET', base .. 'waited', buckets[number] .. '\n' .. groups[number], string.format('%.0f', now + WAITED_S))
    end
  end
  return {'denied', unpack(refused)}
end

for number, bucket in ipairs(buckets) do
  if smaller and string.sub(bucket, 1, 4) == 'usd:' and tonumber(amounts[number]) > smaller then
    amounts[number] = digits(smaller)
  end
  hold(bucket, groups[number], amounts[number])
  -- Whoever is not here while somebody of the bucket was dropped, was dropped too: so all that are known are here.
  if ARGV[5 + (number - 1) * 8 + 3] == '' then redis.call('HSETNX', base .. 's:' .. bucket, groups[number], '0') end
end
for _, number in ipairs(new) do
  ends(buckets[number], ARGV[5 + (number - 1) * 8 + 3])
end
local reservation = {'open', smaller and digits(smaller) or '', soft, buckets, groups, amounts, ARGV[4]}
redis.call('SET', base .. 'a:' .. id, cmsgpack.pack(reservation))
redis.call('ZADD', base .. 'deadlines', ARGV[3], id)
return granted(reservation)
