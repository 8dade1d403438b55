"""Jobs of this data plane: how one begins, who may ask for it, how its end is seen and settled. What they are: `proxy/jobs`."""
