"""From a Keras network to files: .tflite, signatures, packs, crops."""
