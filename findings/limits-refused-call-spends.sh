#!/bin/sh
# limits 5.8.0: with a fixed window, a call that is refused uses up what was left of the limit for everybody else.
#
# `FixedWindowRateLimiter.hit(item, key, cost=tokens)` adds the cost first and then looks whether the sum still fits; what did not fit stays
# added until the window ends. With a cost of 1, as for requests, nobody notices. With tokens, one request that is too large for the
# rest closes the rest: of 1,000 tokens a minute with 800 used, a refused request of 900 leaves 0, and one of 100 is refused too. It is the
# first of the strategies that the documentation names, and what Flask-Limiter and SlowAPI take unless told otherwise. The moving window and the
# sliding counter look before they add. `test()` with the cost, asked before `hit()`, keeps the rest, but two who ask at once both hear yes.
# Seen, as (800 of 1,000, 900, 100, what is left): fixed (True, False, False, 0); moving and sliding (True, False, True, 100).
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check limits==5.8.0
"$folder/venv/bin/python" - <<'PYTHON'
import limits
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

# An hour, so that no window ends between two lines.
LIMIT = limits.RateLimitItemPerHour(1000)
seen = {}
for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
    limiter = strategy(MemoryStorage())
    answers = [limiter.hit(LIMIT, "team", cost=tokens) for tokens in (800, 900, 100)]
    seen[strategy.__name__] = (*answers, limiter.get_window_stats(LIMIT, "team").remaining)
    print("limits", limits.__version__, strategy.__name__, seen[strategy.__name__])
keeps = (True, False, True, 100)
expected = {
    "FixedWindowRateLimiter": (True, False, False, 0), "MovingWindowRateLimiter": keeps, "SlidingWindowCounterRateLimiter": keeps,
}
raise SystemExit(seen != expected)
PYTHON
