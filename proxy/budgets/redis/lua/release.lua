-- End a reservation with nothing used. ARGV: epoch, id. Returns {"released" | "expired" | ""}, or {"closed"}.
-- An unknown id is remembered: its reservation may still be on its way, and must not stand then.
if not state() then return {'closed'} end
local ending = resolve(ARGV[2], nil)
if ending ~= 'released' then close(ARGV[2]) end
return {ending or ''}
