"""Change-driven inference on LiteRT: .tflite files as graphs, run piece by piece. NumPy only."""
