-- Charge reservations whose deadline is over. ARGV: epoch, how many at most. Returns {how many}, or {"closed"}.
if not state() then return {'closed'} end
return {digits(sweep(clock(), tonumber(ARGV[2])))}
