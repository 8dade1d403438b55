"""What Prometheus reads: the table of metrics and how each gets its value."""
