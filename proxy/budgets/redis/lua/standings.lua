-- How counters stand. ARGV: epoch, then for each: bucket, group. Returns {"", spent and reserved of each},
-- {"unknown", …} where the ledger has to be asked, or {"closed"}.
if state() ~= 'open' then return {'closed'} end
local asks = unknown(2, 2)
if asks then return asks end
local answer = {''}
for at = 2, #ARGV, 2 do
  local spent, reserved = counter(ARGV[at], ARGV[at + 1])
  answer[#answer + 1], answer[#answer + 2] = spent or '0', reserved or '0'
end
return answer
