-- As settle, but what is unknown is charged too, once. ARGV: epoch, id, then for each claim: bucket, group, window end ("" for
-- none), amount. Returns {"settled" | "expired" | ""}, {"unknown", …} where the ledger has to be asked, or {"closed"}.
if not state() then return {'closed'} end
local id = ARGV[2]
local amounts = {}
for at = 3, #ARGV, 4 do amounts[#amounts + 1] = ARGV[at + 3] end
local known = redis.call('EXISTS', base .. 'a:' .. id) == 1
local asks = not known and unknown(3, 4, 3)
if asks then return asks end
local ending = resolve(id, amounts)
if not known then
  ending = 'settled'
  for at = 3, #ARGV, 4 do
    if ARGV[at + 3]:sub(1, 1) ~= '-' or not left_out(ARGV[at], ARGV[at + 1]) then
      add('s:', ARGV[at], ARGV[at + 1], ARGV[at + 3])
    end
    ends(ARGV[at], ARGV[at + 2])
    tell(ARGV[at], ARGV[at + 1])
  end
end
close(id)
return {ending or ''}
