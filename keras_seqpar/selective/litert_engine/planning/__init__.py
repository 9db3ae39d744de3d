"""Cuts a graph into runs, by what its operations do to positions."""
