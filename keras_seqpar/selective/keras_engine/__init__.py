"""The engine of streams on Keras: stored maps, and the parts of them that are computed again."""
