"""The engine of streams on Keras: it stores maps and computes parts of them again."""
