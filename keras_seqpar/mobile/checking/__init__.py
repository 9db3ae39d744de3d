"""Checking converted files: agreement with Keras, latency, size, memory, phones."""
