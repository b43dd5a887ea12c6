"""Executions over a FIX 4.4 drop copy into fills."""
