"""Smaller numbers: quantization after training and in training."""
