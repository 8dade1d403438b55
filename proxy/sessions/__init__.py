"""Which agent run or conversation a call belongs to."""
