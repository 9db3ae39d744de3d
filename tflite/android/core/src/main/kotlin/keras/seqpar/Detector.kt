package keras.seqpar

import kotlin.math.abs

/**
 * Compares each position of a frame with its last accepted value.
 *
 * Counterpart of keras_seqpar.selective.Detector. Not thread-safe.
 *
 * @property threshold a position changed if a channel differs by more than this, in the units of
 *   the frames. With 0 every difference counts. [AUTO] learns the noise of the camera from the
 *   first frames, which must show a still scene; from then on it compares the mean difference of
 *   tiles of 8x8 pixels with 2.2 times the mean noise, and grows the changed area by one tile.
 * @property learn number of frames that [AUTO] learns from, 2 or more.
 * @throws IllegalArgumentException a number is out of range.
 */
class Detector(val threshold: Float = 0f, val learn: Int = 5) {
    private val seen = ArrayList<Double>()

    /** Mean absolute difference in a still scene; `null` until [AUTO] has learned it. */
    var noise: Double? = null
        private set

    init {
        require(threshold.isNaN() || (threshold.isFinite() && threshold >= 0)) {
            "threshold must be finite and 0 or more, or Detector.AUTO, got $threshold."
        }
        require(learn >= 2) { "learn must be 2 or more, got $learn." }
    }

    /** Every difference counts as a change. */
    internal val isExact: Boolean get() = threshold == 0f

    /** Whether the noise is learned from the next frame. */
    internal val isLearning: Boolean get() = threshold.isNaN() && noise == null

    /** The positions that changed; while [isLearning], all that differ. */
    internal fun changes(frame: Frame, accepted: Frame, size: FrameSize): BooleanArray = when {
        isLearning -> {
            observe(frame, accepted, size)
            size.where { frame.differs(it, accepted) }
        }
        isExact -> size.where { frame.differs(it, accepted) }
        threshold.isNaN() -> {
            val limit = FACTOR * noise!!
            val tiles = tileMeans(frame, accepted, size).map { it > limit }
            val across = ceilDiv(size.width, TILE)
            BooleanArray(size.height * size.width) { i ->
                val (row, col) = Pair(i / size.width / TILE, i % size.width / TILE)
                (maxOf(row - 1, 0)..minOf(row + 1, tiles.size / across - 1)).any { y ->
                    (maxOf(col - 1, 0)..minOf(col + 1, across - 1)).any { tiles[y * across + it] }
                }
            }
        }
        else -> size.where { frame.distance(it, accepted) > threshold }
    }

    private fun observe(frame: Frame, accepted: Frame, size: FrameSize) {
        val means = tileMeans(frame, accepted, size).sorted()
        seen.add((means[(means.size - 1) / 2] + means[means.size / 2]) / 2) // the median
        if (seen.size >= learn - 1) {
            noise = seen.average()
            seen.clear()
        }
    }

    /** The mean difference of every tile; the last ones of a row or column may be smaller. */
    private fun tileMeans(frame: Frame, accepted: Frame, size: FrameSize): List<Double> {
        val across = ceilDiv(size.width, TILE)
        val sums = DoubleArray(ceilDiv(size.height, TILE) * across)
        for (y in 0 until size.height) {
            for (x in 0 until size.width) {
                val at = (y * size.width + x) * size.channels
                var sum = 0.0
                for (i in at until at + size.channels) sum += frame.distance(i, accepted)
                sums[y / TILE * across + x / TILE] += sum / size.channels
            }
        }
        return sums.mapIndexed { i, sum ->
            val height = minOf(TILE, size.height - i / across * TILE)
            val width = minOf(TILE, size.width - i % across * TILE)
            sum / (height * width)
        }
    }

    companion object {
        /** The threshold that suits cameras: it is learned. */
        const val AUTO = Float.NaN
        private const val TILE = 8
        private const val FACTOR = 2.2 // as in Python, where it was measured
    }
}

internal class FrameSize(val height: Int, val width: Int, val channels: Int) {
    val values: Int get() = height * width * channels

    /** One value per position: whether anything is true in any channel. */
    inline fun where(test: (Int) -> Boolean) = BooleanArray(height * width) { position ->
        val at = position * channels
        (at until at + channels).any { test(it) }
    }
}

/** The values of a frame, row by row: pixels or numbers. */
internal sealed interface Frame {
    val size: Int

    /** The absolute difference of a value. */
    fun distance(i: Int, other: Frame): Float

    /** Whether any bit of a value differs. */
    fun differs(i: Int, other: Frame): Boolean

    /** Copies values from another frame of the same kind. */
    fun copy(from: Frame, start: Int, end: Int)

    fun copy(): Frame
}

internal class PixelFrame(val pixels: ByteArray) : Frame {
    override val size: Int get() = pixels.size

    override fun distance(i: Int, other: Frame): Float =
        abs(value(i) - (other as PixelFrame).value(i)).toFloat()

    private fun value(i: Int) = pixels[i].toInt() and 255

    override fun differs(i: Int, other: Frame) = pixels[i] != (other as PixelFrame).pixels[i]

    override fun copy(from: Frame, start: Int, end: Int) {
        (from as PixelFrame).pixels.copyInto(pixels, start, start, end)
    }

    override fun copy() = PixelFrame(pixels.copyOf())
}

internal class ValueFrame(val values: FloatArray) : Frame {
    override val size: Int get() = values.size

    override fun distance(i: Int, other: Frame) = abs(values[i] - (other as ValueFrame).values[i])

    override fun differs(i: Int, other: Frame) =
        values[i].toRawBits() != (other as ValueFrame).values[i].toRawBits()

    override fun copy(from: Frame, start: Int, end: Int) {
        (from as ValueFrame).values.copyInto(values, start, start, end)
    }

    override fun copy() = ValueFrame(values.copyOf())
}
