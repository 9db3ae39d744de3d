"""Training with quantization in mind, by tensorflow-model-optimization."""
