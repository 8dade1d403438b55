"""What an attacker does, class by class, each held by a test. Harmless input only."""
