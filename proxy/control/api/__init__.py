"""The control plane's HTTP API, a subject a file."""
