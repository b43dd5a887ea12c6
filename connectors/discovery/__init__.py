"""What discoveries of all protocols share: what was found, names and units for it, and the settings that read it."""
