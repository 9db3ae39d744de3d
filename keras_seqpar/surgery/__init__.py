"""Surgery: networks with fewer or more categories, with gains, with a threshold for unknowns."""
