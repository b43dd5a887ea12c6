"""The feed contract: what every market feed tells, and what becomes of it."""
