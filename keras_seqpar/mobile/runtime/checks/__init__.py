"""Checks of what is read before an interpreter sees it: bytes, archive, facts, graphs."""
