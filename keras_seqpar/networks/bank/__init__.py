"""The equal branches of a level computed together."""
