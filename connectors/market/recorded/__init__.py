"""Ticks that somebody has recorded, from CSV and Parquet files."""
