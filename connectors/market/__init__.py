"""Market data in."""
