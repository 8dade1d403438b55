"""What keeps the books of one's own machines: who closes minutes, and who asks the servers for their counters."""
