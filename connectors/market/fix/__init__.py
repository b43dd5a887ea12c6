"""Market data over FIX 4.4, and the FIX session itself."""
