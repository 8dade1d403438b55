"""The way to the provider: connections, TLS, forward proxies, what is inflated."""
