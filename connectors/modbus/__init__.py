"""Modbus in."""
