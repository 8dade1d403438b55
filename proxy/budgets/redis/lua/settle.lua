-- End a reservation with what was used. ARGV: epoch, id, amount of each claim.
-- Returns {"settled" | "expired" | "", spent and reserved of each counter}, or {"closed"}.
if not state() then return {'closed'} end
local amounts = {}
for i = 3, #ARGV do amounts[i - 2] = ARGV[i] end
local ending, figures = resolve(ARGV[2], amounts)
return {ending or '', unpack(figures)}
