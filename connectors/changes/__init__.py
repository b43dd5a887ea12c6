"""Devices that are changed by records on a topic while the process runs, over what its settings file says."""
