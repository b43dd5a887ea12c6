"""Sparkplug B in."""
