"""Keras network -> branch pack: one .tflite file for the trunk, a small one per branch."""
