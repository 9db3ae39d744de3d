package keras.seqpar

import kotlin.math.abs
import kotlin.math.ceil

/**
 * An image with pixels as from Android's Bitmap.getPixels.
 *
 * @property pixels one `0xAARRGGBB` value per pixel, row by row, not premultiplied. Transparent
 *   parts are composed over white, as keras_seqpar.data.decode does.
 */
class Image(val width: Int, val height: Int, val pixels: IntArray) {
    init {
        require(width > 0 && height > 0 && pixels.size == width * height) {
            "An image of $width x $height needs ${width * height} pixels, got ${pixels.size}."
        }
    }

    /**
     * The pixels over white: opaque `0xFFRRGGBB` values, each channel rounded to the nearest.
     */
    fun opaque(): IntArray = IntArray(pixels.size) { at ->
        val pixel = pixels[at]
        val alpha = pixel ushr 24
        fun over(shift: Int): Int {
            val channel = (pixel shr shift) and 255
            return (channel * alpha + BACKGROUND * (255 - alpha) + 127) / 255 shl shift
        }
        if (alpha == 255) pixel else (255 shl 24) or over(16) or over(8) or over(0)
    }

    /**
     * The square in the middle of the image, resized to the same bits as by
     * keras_seqpar.data.decode (the antialiased bicubic filter of Pillow 13).
     *
     * @param size side of the square in pixels.
     * @return `size * size * 3` bytes: R, G and B of every pixel, from 0 to 255.
     */
    fun square(size: Int): ByteArray {
        require(size > 0) { "The side of a square must be 1 pixel or more, got $size." }
        val side = minOf(width, height)
        val left = (width - side) / 2.0
        val top = (height - side) / 2.0
        val opaque = opaque()
        val bytes = ByteArray(3 * width * height) {
            (opaque[it / 3] shr (16 - 8 * (it % 3))).toByte()
        }
        if (side == size && width == height) return bytes
        val columns = filters(width, left, left + side, size)
        val rows = filters(height, top, top + side, size)
        // Like Pillow 13, begin with rows if they shrink much more: the order changes the rounding.
        val tall = height > size && height - size > 2 * (width - size)
        return if (tall) {
            horizontal(vertical(bytes, 3 * width, rows), 3 * width, columns)
        } else {
            vertical(horizontal(bytes, 3 * width, columns), 3 * size, rows)
        }
    }

    companion object {
        /**
         * The factor by which a JPEG decoder may shrink an image, as Pillow's `draft` computes it.
         *
         * @return 1, 2, 4 or 8, for ImageDecoder.setTargetSampleSize.
         */
        fun sampleSize(width: Int, height: Int, size: Int): Int {
            val scale = minOf(width / size, height / size)
            return listOf(8, 4, 2).firstOrNull { scale >= it } ?: 1
        }
    }
}

/** The weights of one output position: `weights[i]` is for the input position `first + i`. */
private class Filter(val first: Int, val weights: IntArray)

/** Resizes every row; a row has `line` bytes. */
private fun horizontal(from: ByteArray, line: Int, filters: List<Filter>): ByteArray {
    val into = ByteArray(from.size / line * filters.size * 3)
    var at = 0
    for (start in from.indices step line) {
        for (filter in filters) {
            for (channel in 0 until 3) into[at++] = filter.applied(from, start + channel, 3)
        }
    }
    return into
}

/** Resizes every column; a row has `line` bytes. */
private fun vertical(from: ByteArray, line: Int, filters: List<Filter>): ByteArray {
    val into = ByteArray(filters.size * line)
    var at = 0
    for (filter in filters) {
        for (x in 0 until line) into[at++] = filter.applied(from, x, line)
    }
    return into
}

/** One output value, computed and rounded in fixed point as in Pillow. */
private fun Filter.applied(from: ByteArray, start: Int, step: Int): Byte {
    var sum = 1 shl (PRECISION - 1)
    var at = start + first * step
    for (weight in weights) {
        sum += (from[at].toInt() and 255) * weight
        at += step
    }
    return (sum shr PRECISION).coerceIn(0, 255).toByte()
}

/** As `precompute_coeffs` and `normalize_coeffs_8bpc` in Pillow's Resample.c. */
private fun filters(length: Int, from: Double, to: Double, size: Int): List<Filter> {
    val scale = (to - from) / size
    val stretch = maxOf(scale, 1.0)
    val support = SUPPORT * stretch
    return List(size) { x ->
        val center = from + (x + 0.5) * scale
        val first = maxOf((center - support + 0.5).toInt(), 0)
        val end = minOf((center + support + 0.5).toInt(), length)
        val exact = DoubleArray(end - first) {
            bicubic((it + first - center + 0.5) * (1 / stretch))
        }
        val total = exact.sum()
        Filter(first, IntArray(exact.size) { fixed(exact[it] / total) })
    }
}

private fun fixed(weight: Double): Int =
    (weight * (1 shl PRECISION) + if (weight < 0) -0.5 else 0.5).toInt()

private fun bicubic(at: Double): Double {
    val x = abs(at)
    return when {
        x < 1 -> ((A + 2) * x - (A + 3)) * x * x + 1
        x < 2 -> (((x - 5) * x + 8) * x - 4) * A
        else -> 0.0
    }
}

private const val BACKGROUND = 255 // of transparent parts, in every channel
private const val A = -0.5
private const val SUPPORT = 2.0
private const val PRECISION = 32 - 8 - 2
