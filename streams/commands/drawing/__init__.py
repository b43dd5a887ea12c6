"""Drawing layered graphs: where the boxes stand, and the SVG of it."""
