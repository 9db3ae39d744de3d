package keras.seqpar

import kotlin.math.abs

/**
 * Compares each position of a frame with its last accepted value.
 *
 * Counterpart of keras_seqpar.selective.Detector. Every stream learns in a copy of its own.
 *
 * @property threshold a position changed if a channel differs by more than this, in the units of
 *   the frames. With 0 every difference counts. [AUTO] learns the noise of the camera from the
 *   first frames, which must show a scene in which at most a tenth moves; from then on a tile of
 *   8x8 pixels changed if its mean difference exceeds twice the noise, and so did its neighbors
 *   that exceed the noise.
 * @property learn number of frames that [AUTO] learns from, 2 or more; frames that equal the one
 *   before do not count.
 * @param noise mean absolute difference that nine of ten tiles of a still scene stay below; [AUTO]
 *   learns it where it is `null`.
 * @throws IllegalArgumentException a number is out of range.
 */
class Detector(val threshold: Float = 0f, val learn: Int = 5, noise: Double? = null) {
    private val seen = ArrayList<Double>()

    /** See the parameter; `null` until [AUTO] has learned it. */
    var noise: Double? = noise
        private set

    init {
        require(threshold.isNaN() || (threshold.isFinite() && threshold >= 0)) {
            "threshold must be finite and 0 or more, or Detector.AUTO, got $threshold."
        }
        require(learn >= 2) { "learn must be 2 or more, got $learn." }
    }

    /** The copy in which one stream learns. */
    internal fun copy() = Detector(threshold, learn, noise)

    /** Every difference counts as a change. */
    internal val isExact: Boolean get() = threshold == 0f

    /** Whether the noise is learned from the next frame. */
    internal val isLearning: Boolean get() = threshold.isNaN() && noise == null

    /** The positions that changed; while [isLearning], all that differ. */
    internal fun changes(frame: Frame, accepted: Frame, size: FrameSize): BooleanArray = when {
        frame.equals(accepted) -> BooleanArray(size.height * size.width)
        isLearning -> {
            observe(frame, accepted, size)
            size.where { frame.differs(it, accepted) }
        }
        isExact -> size.where { frame.differs(it, accepted) }
        threshold.isNaN() -> {
            val tiles = changedTiles(tileMeans(frame, accepted, size), noise!!, size)
            val across = ceilDiv(size.width, TILE)
            BooleanArray(size.height * size.width) { i ->
                tiles[i / size.width / TILE * across + i % size.width / TILE]
            }
        }
        else -> size.where { frame.distance(it, accepted) > threshold }
    }

    private fun observe(frame: Frame, accepted: Frame, size: FrameSize) {
        val means = tileMeans(frame, accepted, size).sorted()
        if (means.last() == 0.0) return // the camera repeats a frame
        seen.add(minOf(quantile(means, STILL_SHARE), MOST_SPREAD * quantile(means, 0.5)))
        if (seen.size >= learn - 1) {
            noise = quantile(seen.sorted(), 0.5)
            seen.clear()
        }
    }

    /** The tiles above twice the noise, and their neighbors above the noise. */
    private fun changedTiles(means: List<Double>, noise: Double, size: FrameSize): List<Boolean> {
        val across = ceilDiv(size.width, TILE)
        return means.mapIndexed { i, mean ->
            val (row, col) = Pair(i / across, i % across)
            mean > noise && (maxOf(row - 1, 0)..minOf(row + 1, means.size / across - 1)).any { y ->
                (maxOf(col - 1, 0)..minOf(col + 1, across - 1)).any { x ->
                    means[y * across + x] > FACTOR * noise
                }
            }
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
        private const val FACTOR = 2.0 // these three as in Python, where they were measured
        private const val STILL_SHARE = 0.9
        private const val MOST_SPREAD = 3.0
    }
}

/** A quantile of sorted values, between two of them as NumPy computes it. */
private fun quantile(sorted: List<Double>, share: Double): Double {
    val place = (sorted.size - 1) * share
    val low = place.toInt()
    val (a, b) = Pair(sorted[low], sorted[minOf(low + 1, sorted.size - 1)])
    val part = place - low
    return if (part < 0.5) a + (b - a) * part else b - (b - a) * (1 - part)
}

internal class FrameSize(val height: Int, val width: Int, val channels: Int) {
    val values: Int get() = height * width * channels

    /** One value per position: whether anything is true in any channel. */
    inline fun where(test: (Int) -> Boolean) = BooleanArray(height * width) { position ->
        var i = position * channels
        val end = i + channels
        while (i < end && !test(i)) i++
        i < end
    }
}

/** The values of a frame, row by row: pixels or numbers. */
internal sealed interface Frame {
    val size: Int

    /** The absolute difference of a value. */
    fun distance(i: Int, other: Frame): Float

    /** Whether no value differs: much faster than asking for each. */
    fun equals(other: Frame): Boolean

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

    override fun equals(other: Frame) = pixels.contentEquals((other as PixelFrame).pixels)

    override fun differs(i: Int, other: Frame) = pixels[i] != (other as PixelFrame).pixels[i]

    override fun copy(from: Frame, start: Int, end: Int) {
        (from as PixelFrame).pixels.copyInto(pixels, start, start, end)
    }

    override fun copy() = PixelFrame(pixels.copyOf())
}

internal class ValueFrame(val values: FloatArray) : Frame {
    override val size: Int get() = values.size

    override fun distance(i: Int, other: Frame) = abs(values[i] - (other as ValueFrame).values[i])

    override fun equals(other: Frame) = values.contentEquals((other as ValueFrame).values)

    override fun differs(i: Int, other: Frame) =
        values[i].toRawBits() != (other as ValueFrame).values[i].toRawBits()

    override fun copy(from: Frame, start: Int, end: Int) {
        (from as ValueFrame).values.copyInto(values, start, start, end)
    }

    override fun copy() = ValueFrame(values.copyOf())
}
