"""What the page in tflite/web shows of a network, as files that a static server can serve."""
