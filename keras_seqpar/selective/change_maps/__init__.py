"""Change maps: which outputs of a network must be computed again when its input changed."""
