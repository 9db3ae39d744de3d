"""Consistency: a part of an image, run by itself, gets the same scores as in the whole image.

Streams compute crops around changes and keep the rest of the map. They agree with a run of the
whole frame as far as the prediction for a pixel does not depend on pixels outside the crop's
margin. So in training a part of each crop is run a second time by itself, and the difference from
the scores of the same pixels in the whole crop is a loss. With noise in that part (`Grain`), the
network learns predictions that do not flicker with the noise of videos.
"""

import keras
from keras import ops

NEAR = 6  # pixels at the edge of a part that may differ: slightly less than a stream's margin
GRAINS = 1, 2, 8  # pixels: of sensors, of colors at half resolution and of the blocks of codecs


class Part(keras.layers.Layer):
    """Cuts a square out of each image of a batch, at the same place in all.

    Call arguments: `(batch, height, width, channels)` and `(batch, numbers)`, of which the last
    two of the first row are the square's top and left.

    Args:
        size: side of the square in pixels.
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.size = size

    def call(self, images, rows):
        corner = ops.cast(rows[0, -2:], "int32")
        start = ops.pad(corner, (1, 1))
        return ops.slice(
            images, start, (ops.shape(images)[0], self.size, self.size, images.shape[-1])
        )

    def compute_output_shape(self, images_shape, rows_shape):
        return (images_shape[0], self.size, self.size, images_shape[-1])


class Grain(keras.layers.Layer):
    """Adds noise to the colors of images in training: once for each size of `GRAINS`.

    Call argument: `(batch, height, width, channels)` of 0 to 255; the first three are colors.

    Args:
        level: largest standard deviation for each size, for pixels of 0 to 255; each image and
            color gets its own, drawn from 0 to `level`.
        seed: of the noise.
    """

    def __init__(self, level: float, seed: int = 0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.level = level
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        colors, rest = images[..., :3], images[..., 3:]
        count, (height, width) = ops.shape(images)[0], images.shape[1:3]
        for grain in GRAINS:
            shape = (count, -(-height // grain), -(-width // grain), 3)
            noise = keras.random.normal(shape, seed=self.seed_generator)
            noise = ops.repeat(ops.repeat(noise, grain, axis=1), grain, axis=2)
            level = keras.random.uniform((count, 1, 1, 3), 0, self.level, seed=self.seed_generator)
            colors = colors + level * noise[:, :height, :width]
        return ops.concatenate([ops.clip(colors, 0.0, 255.0), rest], axis=-1)

    def compute_output_shape(self, images_shape):
        return images_shape


class Agree(keras.layers.Layer):
    """Adds a loss for the difference between the scores of a part by itself and in the whole image.

    The loss is half the sum of both Kullback-Leibler divergences, averaged over all pixels except
    those at the part's edge.

    Call arguments: the scores `(batch, height, width, classes)` of whole images, the part of these
    scores inside the square, and the scores of the square run by itself. Returns the first.

    Args:
        weight: of the loss.
        near: pixels at the part's edge that are left out.
    """

    def __init__(self, weight: float, near: int = NEAR, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.weight, self.near = weight, near

    def call(self, scores, within, alone, training=False):
        if training:
            inner = slice(self.near, -self.near or None)
            a, b = (ops.log_softmax(x[:, inner, inner]) for x in (within, alone))
            apart = ops.sum((ops.exp(a) - ops.exp(b)) * (a - b), axis=-1) / 2
            self.add_loss(self.weight * ops.mean(apart))
        return scores

    def compute_output_shape(self, scores_shape, within_shape, alone_shape):
        return scores_shape
