package keras.seqpar

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * A network as streams know it.
 *
 * @property name of its file.
 * @property about what the file states about itself.
 * @property frame the input for frames.
 * @property gains the input for gains, or `null`.
 * @property outputs name -> output.
 */
internal class StreamNetwork(
    val name: String,
    val about: JsonObject,
    val labels: List<String>?,
    val frame: Tensor,
    val gains: Tensor?,
    val outputs: Map<String, Tensor>,
) {
    val activation: String? = activationOf(name, about)
    val normalization: Normalization? = Normalization.read(about)
    val maxGain: Float? = (about["max_gain"] as? Double)?.toFloat()

    /** The name of the output that has the scores. */
    val scores: String get() = outputs.keys.firstOrNull { it != NONE } ?: NONE
}

/** What was computed for a frame; [boxes] are parts of it. */
internal class Computed(
    val mode: String,
    val boxes: List<Box>,
    val macs: Long,
)

/**
 * What all streams share: frames, where changes count, and what was accepted. Not thread-safe.
 *
 * Counterpart of keras_seqpar.selective.frame_stream.
 */
abstract class FrameStream internal constructor(
    internal val network: StreamNetwork,
    private val macs: Long,
    detector: Detector,
    include: List<Box>?,
    exclude: List<Box>,
) : AutoCloseable {
    private val input = network.frame
    internal val size = FrameSize(input.shape[1], input.shape[2], input.shape[3])
    internal var wanted: BooleanArray? = wantedMap(include, exclude)
        private set
    private var changed: BooleanArray? = null

    /** The stream's own copy of its detector, with the noise that it has learned. */
    val detector: Detector = detector.copy()

    /** The values that were last accepted, position by position. */
    internal var accepted: Frame? = null
        private set

    /** Height, width and channels of a frame. */
    val frameShape: List<Int> get() = input.shape.drop(1)

    /** One label per score, or `null` if the file has none. */
    val labels: List<String>? get() = network.labels

    /** The largest gain that the file was calibrated for; `null` if gains are not limited. */
    val maxGain: Float? get() = network.maxGain

    /** Size in bytes of all that is kept from frame to frame. */
    val stateBytes: Long
        get() {
            val frame = accepted ?: return keptBytes
            return keptBytes + frame.size * if (frame is ValueFrame) 4L else 1L
        }

    /**
     * Runs the network on an image of any size: the square in its middle, resized as by [Runner].
     *
     * @param gains as for [run].
     */
    fun classify(image: Image, gains: FloatArray? = null): Result {
        require(size.height == size.width && size.channels == 3) {
            "${network.name} takes frames of ${frameShape.joinToString("x")}; only square color " +
                "images can be made here. Call run() with pixels."
        }
        return run(image.square(size.width), gains)
    }

    /**
     * Runs the network on a frame of pixels, which are normalized as the file states.
     *
     * @param pixels height * width * channels bytes from 0 to 255, such as R, G and B.
     * @param gains one per node, 0 or more, 1 is neutral; neutral by default. Gains above [maxGain]
     *   are clipped.
     * @param mask one value per position: those to accept from this frame, if the caller knows
     *   them; no changes are looked for then.
     * @throws IllegalArgumentException the number of values, gains or positions is wrong, or the
     *   frames before were of the other kind: call [reset].
     */
    fun run(pixels: ByteArray, gains: FloatArray? = null, mask: BooleanArray? = null): Result =
        run(PixelFrame(pixels), gains, mask)

    /**
     * Runs the network on a frame of values in the range of the Keras network's input.
     *
     * @param values height * width * channels finite values.
     */
    fun run(values: FloatArray, gains: FloatArray? = null, mask: BooleanArray? = null): Result {
        val before = accepted
        val isKnown = before is ValueFrame && before.equals(ValueFrame(values))
        require(isKnown || values.all { it.isFinite() }) {
            "The frame has NaN or infinite values. It was ignored; pass finite numbers."
        }
        return run(ValueFrame(values), gains, mask)
    }

    /**
     * Sets where changes are looked for from now on, as for the constructor. Outside, a position
     * keeps its last accepted value. The first frame is accepted as a whole.
     */
    fun look(include: List<Box>? = null, exclude: List<Box> = emptyList()) {
        wanted = wantedMap(include, exclude)
    }

    /**
     * The positions of the last frame that changed.
     *
     * @return one value per position, row by row.
     * @throws IllegalArgumentException there was no frame yet.
     */
    fun changeMap(): BooleanArray = requireNotNull(changed) { "No frame was seen yet." }.copyOf()

    /** Forgets all frames; the next one may be of another kind. */
    fun reset() {
        accepted = null
        changed = null
        forget()
    }

    /** Forgets what was computed. */
    internal abstract fun forget()

    /** Size in bytes of what is kept besides the accepted frame. */
    internal abstract val keptBytes: Long

    /** Computes what a change needs; [gains] are the bytes of that input, if there is one. */
    internal abstract fun compute(frame: Frame, changed: BooleanArray, gains: ByteArray): Computed

    /** Name of an output -> a copy of its bytes. */
    internal abstract fun outputs(): Map<String, ByteArray>

    /** Takes boxes of a frame over; of the first one, everything. */
    internal fun accept(frame: Frame, boxes: List<Box>) {
        val kept = accepted
        if (kept == null) {
            accepted = frame.copy()
            return
        }
        for (box in boxes) box.rows { from, until -> kept.copy(frame, from, until) }
    }

    /** Calls a block with the bytes of every row of a box of the accepted frame, from the top. */
    internal inline fun encode(box: Box, block: (Int, ByteArray) -> Unit) {
        val frame = accepted!!
        val normalization = network.normalization?.takeIf { !it.isNeutral }
        val row = ByteBuffer.allocate(box.width * size.channels * input.width)
            .order(ByteOrder.nativeOrder())
        box.rows { from, until ->
            when (frame) {
                is ValueFrame -> input.encode(frame.values.copyOfRange(from, until), row)
                is PixelFrame -> {
                    val pixels = frame.pixels.copyOfRange(from, until)
                    if (normalization == null) {
                        input.encode(pixels, row)
                    } else {
                        input.encode(normalization.apply(pixels), row)
                    }
                }
            }
            block(from * input.width, row.array())
        }
    }

    private fun run(frame: Frame, gains: FloatArray?, mask: BooleanArray?): Result {
        val start = System.nanoTime()
        val before = accepted
        val positions = size.height * size.width
        check(frame)
        require(mask == null || mask.size == positions) {
            "mask must have $positions positions, got ${mask?.size}."
        }
        val encodedGains = encoded(gains)
        val found = before?.let { find(frame, it, mask) } ?: BooleanArray(positions) { true }
        val computed = compute(frame, found, encodedGains)
        changed = found
        return Result(
            network,
            outputs(),
            Stats(
                computed.mode, found.count { it }.toDouble() / positions, computed.boxes,
                computed.macs, macs, (System.nanoTime() - start) / 1e6, stateBytes,
            ),
        )
    }

    private fun check(frame: Frame) {
        val before = accepted
        require(frame.size == size.values) {
            "Frames of ${network.name} have ${size.values} values of shape $frameShape, got " +
                "${frame.size}."
        }
        require(before == null || before::class == frame::class) {
            "Frames were of another kind so far, pixels or values. Call reset() to start again."
        }
    }

    private fun find(frame: Frame, before: Frame, mask: BooleanArray?): BooleanArray {
        if (mask != null) return mask.copyOf()
        val isLearning = detector.isLearning
        val found = detector.changes(frame, before, size)
        val limit = wanted
        if (limit == null || isLearning) return found
        return BooleanArray(found.size) { found[it] && limit[it] }
    }

    /** Calls a block with the first value of every row of a box, and the one after the last. */
    private inline fun Box.rows(block: (Int, Int) -> Unit) {
        for (y in top until bottom) {
            val row = y * size.width
            block((row + left) * size.channels, (row + right) * size.channels)
        }
    }

    private fun encoded(given: FloatArray?): ByteArray {
        val gains = network.gains
        if (gains == null) {
            require(given == null) { "${network.name} has no gains input." }
            return ByteArray(0)
        }
        val into = ByteBuffer.allocate(gains.bytes).order(ByteOrder.nativeOrder())
        gains.encode(checkedGains(network.name, gains.size, given, maxGain), into)
        return into.array()
    }

    private fun wantedMap(include: List<Box>?, exclude: List<Box>): BooleanArray? {
        if (include == null && exclude.isEmpty()) return null
        for (box in include.orEmpty() + exclude) {
            val fits = box.top in 0 until box.bottom && box.left in 0 until box.right
            require(fits && box.bottom <= size.height && box.right <= size.width) {
                "$box is empty or outside of frames of ${size.height}x${size.width}."
            }
        }
        val whole = listOf(Box(0, 0, size.height, size.width))
        val inside = toMap(include ?: whole, size.height, size.width)
        val outside = toMap(exclude, size.height, size.width)
        return BooleanArray(inside.size) { inside[it] && !outside[it] }
    }
}
