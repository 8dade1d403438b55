"""The caller's side: his connection, his request, the answer to him."""
