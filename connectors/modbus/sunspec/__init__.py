"""Devices that describe themselves: the SunSpec map, its models, and the points in them."""
