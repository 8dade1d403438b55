"""What stands between processes and around each: the link, orders, the HTTP server's frame, logging."""
