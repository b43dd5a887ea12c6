"""Replay of the user's own ticks from CSV and Parquet files."""
