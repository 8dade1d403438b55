"""Who may call what, and where it goes: keys, routes, owners of what is stored at providers."""
