"""The demonstration: simulated plants, a scenario and the process that runs it all."""
