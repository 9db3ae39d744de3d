"""Predicts the category of images: `python -m keras_seqpar.mobile.run cutout.tflite image.jpg`."""

from keras_seqpar.mobile.runtime.run import main

if __name__ == "__main__":
    raise SystemExit(main())
