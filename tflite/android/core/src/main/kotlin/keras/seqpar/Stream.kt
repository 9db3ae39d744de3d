package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Statistics about one frame.
 *
 * @property mode `boxes` (what changed was computed), `dense` (everything was) or `cached` (nothing
 *   changed, nothing was computed).
 * @property changed share of the frame's positions that changed.
 * @property boxes of the frame that were computed again.
 * @property macs multiply-accumulates that were computed.
 * @property macsDense multiply-accumulates of a dense pass.
 * @property milliseconds time from frame to output.
 * @property drift largest absolute difference between the frame and the frame that the output
 *   belongs to, in the units of the frames; 0 where every difference counts as a change.
 * @property stateBytes size of all that the stream keeps from frame to frame.
 * @property layers name of a stored map -> share of its positions that had to be computed.
 */
class Stats(
    val mode: String,
    val changed: Double,
    val boxes: List<Box>,
    val macs: Long,
    val macsDense: Long,
    val milliseconds: Double,
    val drift: Float,
    val stateBytes: Long,
    val layers: Map<String, Double>,
) {
    /** Share of a dense pass's multiply-accumulates that were saved. */
    val saved: Double get() = if (macsDense > 0) 1 - macs.toDouble() / macsDense else 0.0
}

/** What a stream returns for a frame. */
class Result internal constructor(
    private val plan: StreamPlan,
    private val activation: String?,
    internal val bytes: Map<String, ByteArray>,
    val stats: Stats,
) {
    /** Name of an output -> its values, row by row; integers are scaled back to floats. */
    val outputs: Map<String, FloatArray> by lazy {
        bytes.mapValues { (name, content) ->
            val tensor = plan.tensors[plan.outputs.getValue(name)]
            tensor.decode(ByteBuffer.wrap(content).order(ByteOrder.nativeOrder()))
        }
    }

    /** The values of the first output. */
    val output: FloatArray get() = outputs.getValue(plan.scores)

    /** The prediction of a network that scores categories. */
    val answer: Answer by lazy {
        val scores = activate(output, activation)
        val none = outputs[NONE].takeIf { plan.scores != NONE }
        Answer(plan.labels ?: scores.indices.map { "$it" }, scores, none?.let { it[0] > 0.5f })
    }

    /** The best class of every position of a map of scores; of a single class 1 above 0.5. */
    val classes: IntArray by lazy {
        bestClasses(output, plan.tensors[plan.outputs.getValue(plan.scores)].shape.last())
    }
}

/**
 * Runs a network on the frames of a camera, computing again only what changed.
 *
 * With a threshold of 0 every output equals, bit for bit, what the .tflite file gives for the
 * frame, in int8 and in float32. Counterpart of keras_seqpar.selective.stream. Not thread-safe.
 *
 *     Stream(File("net.stream"), engines, Detector(Detector.AUTO)).use { camera ->
 *         val result = camera.classify(image)
 *         println("${result.answer.top(1)} ${result.stats.mode} ${result.stats.saved}")
 *     }
 *
 * @param folder a folder from keras_seqpar.selective.export_stream (`tflite/stream.py`).
 * @param engines loads files; on Android, `LiteRtEngines`. They must be able to resize inputs.
 * @param detector finds what changed.
 * @param include changes are looked for only here; `null` for everywhere.
 * @param exclude changes are not looked for here.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException there is no such folder, or a file of it is missing.
 * @throws IllegalArgumentException a file is damaged or of another stream, or an argument is out
 *   of range.
 */
class Stream(
    folder: File,
    engines: Engines,
    private val detector: Detector = Detector(),
    include: List<Box>? = null,
    exclude: List<Box> = emptyList(),
    threads: Int = 1,
) : AutoCloseable {
    private val plan = StreamPlan.read(folder)
    private val input = plan.tensors[plan.frame]
    private val size = FrameSize(input.shape[1], input.shape[2], input.shape[3])
    private val normalization = Normalization.read(plan.about)
    private val activation = activationOf(File(folder, plan.network), plan.about)
    private val gains = plan.extras.firstOrNull()?.let { plan.tensors[it] }
    private var wanted: BooleanArray? = wantedMap(include, exclude)
    private val engine: StreamEngine
    private var accepted: Frame? = null
    private var gainBytes = ByteArray(0)
    private var isComplete = false
    private var work: Work? = null
    private var changed = BooleanArray(0)
    private var outputs: Map<String, ByteArray> = emptyMap()

    init {
        require(threads >= 1) { "threads must be 1 or more, got $threads." }
        engine = StreamEngine(plan, engines, threads)
    }

    /** Height, width and channels of a frame. */
    val frameShape: List<Int> get() = input.shape.drop(1)

    /** One label per score, or `null` if the file has none. */
    val labels: List<String>? get() = plan.labels

    /** The nodes of the gains input, in order; empty for a network without one. */
    val gainLabels: List<String> get() = plan.gainLabels ?: List(gains?.size ?: 0) { "$it" }

    /** The largest gain that the file was calibrated for; `null` if gains are not limited. */
    val maxGain: Float? get() = (plan.about["max_gain"] as? Double)?.toFloat()

    /** Size in bytes of all that is kept from frame to frame. */
    val stateBytes: Long
        get() {
            val frame = accepted
            val kept = if (frame == null) 0L else frame.size * if (frame is ValueFrame) 4L else 1L
            return plan.stored.sumOf { plan.tensors[it].bytes.toLong() } + kept
        }

    /**
     * Runs the network on an image of any size: the square in its middle, resized as by [Runner].
     *
     * @param gains as for [run].
     */
    fun classify(image: Image, gains: FloatArray? = null): Result {
        require(size.height == size.width && size.channels == 3) {
            "${plan.network} takes frames of ${frameShape.joinToString("x")}; only square color " +
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
        require(values.all { it.isFinite() }) {
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
     * The positions that had to be computed for the last frame.
     *
     * @param layer name of a stored map (see [Stats.layers]); by default the frame itself.
     * @return one value per position, row by row.
     * @throws IllegalArgumentException there was no frame yet, or the map is unknown.
     */
    fun changeMap(layer: String? = null): BooleanArray {
        val last = requireNotNull(work) { "No frame was seen yet." }
        if (layer == null) return changed.copyOf()
        val number = plan.stored.find { plan.names[it] == layer }
        requireNotNull(number) { "Unknown map '$layer'." }
        val (height, width) = plan.tensors[number].shape.subList(1, 3)
        return toMap(last.changed[number].orEmpty(), height, width)
    }

    /** Forgets all frames; the next one may be of another kind. */
    fun reset() {
        accepted = null
        isComplete = false
        work = null
    }

    override fun close() = engine.close()

    /** Name of a stored map -> a copy of its bytes. */
    internal val maps: Map<String, ByteArray>
        get() = plan.stored.associate { plan.names[it] to engine.maps.getValue(it).copyOf() }

    private fun run(frame: Frame, gains: FloatArray?, mask: BooleanArray?): Result {
        val start = System.nanoTime()
        val before = accepted
        require(frame.size == size.values) {
            "Frames of ${plan.network} have ${size.values} values of shape $frameShape, got " +
                "${frame.size}."
        }
        require(before == null || before::class == frame::class) {
            "Frames were of another kind so far, pixels or values. Call reset() to start again."
        }
        require(mask == null || mask.size == size.height * size.width) {
            "mask must have ${size.height * size.width} positions, got ${mask?.size}."
        }
        val extras = encodedGains(gains)
        val changed = find(frame, mask)
        val boxes = cover(changed, size.width)
        val isDense = !isComplete || !extras.contentEquals(gainBytes)
        var work = if (isDense) engine.everything else engine.follow(boxes)
        val mode = when {
            isDense -> "dense"
            boxes.isEmpty() -> "cached"
            work.cost < engine.everything.cost -> "boxes"
            else -> "dense"
        }
        if (mode != "cached") {
            isComplete = false // if anything fails, the next frame is computed as a whole
            accept(frame, boxes)
            if (isDense) {
                gainBytes = extras
                engine.setExtras(plan.extras.associateWith { extras })
                write(listOf(Box(0, 0, size.height, size.width)))
            } else {
                write(boxes)
            }
            engine.compute(if (mode == "dense") engine.everything else work)
            outputs = plan.outputs.mapValues { engine.maps.getValue(it.value).copyOf() }
        }
        isComplete = true
        this.work = work
        this.changed = changed
        val drift = if (detector.isExact && mask == null && wanted == null) 0f else drift(frame)
        val macs = if (mode == "cached") 0 else if (mode == "dense") plan.macs else work.macs
        val share = changed.count { it }.toDouble() / changed.size
        return Result(
            plan, activation, outputs,
            Stats(
                mode, share, boxes, macs, plan.macs, (System.nanoTime() - start) / 1e6, drift,
                stateBytes, layers(work),
            ),
        )
    }

    private fun find(frame: Frame, mask: BooleanArray?): BooleanArray {
        val before = accepted ?: return BooleanArray(size.height * size.width) { true }
        if (mask != null) return mask.copyOf()
        val isLearning = detector.isLearning
        val found = detector.changes(frame, before, size)
        val limit = wanted
        if (limit == null || isLearning) return found
        return BooleanArray(found.size) { found[it] && limit[it] }
    }

    private fun accept(frame: Frame, boxes: List<Box>) {
        val kept = accepted
        if (kept == null) {
            accepted = frame.copy()
            return
        }
        for (box in boxes) box.rows { from, until -> kept.copy(frame, from, until) }
    }

    /** Writes boxes of the accepted frame into the stored map of the input. */
    private fun write(boxes: List<Box>) {
        val map = engine.maps.getValue(plan.frame)
        val frame = accepted!!
        for (box in boxes) {
            val row = ByteBuffer.allocate(box.width * size.channels * input.width)
                .order(ByteOrder.nativeOrder())
            box.rows { from, until ->
                when (frame) {
                    is ValueFrame -> input.encode(frame.values.copyOfRange(from, until), row)
                    is PixelFrame -> {
                        val pixels = frame.pixels.copyOfRange(from, until)
                        if (normalization == null || normalization.isNeutral) {
                            input.encode(pixels, row)
                        } else {
                            input.encode(normalization.apply(pixels), row)
                        }
                    }
                }
                row.array().copyInto(map, from * input.width)
            }
        }
    }

    /** Calls a block with the first value of every row of a box, and the one after the last. */
    private inline fun Box.rows(block: (Int, Int) -> Unit) {
        for (y in top until bottom) {
            val row = y * size.width
            block((row + left) * size.channels, (row + right) * size.channels)
        }
    }

    private fun encodedGains(given: FloatArray?): ByteArray {
        if (gains == null) {
            require(given == null) { "${plan.network} has no gains input." }
            return ByteArray(0)
        }
        val into = ByteBuffer.allocate(gains.bytes).order(ByteOrder.nativeOrder())
        gains.encode(checkedGains(plan.network, gains.size, given, maxGain), into)
        return into.array()
    }

    private fun drift(frame: Frame): Float =
        (0 until frame.size).maxOf { frame.distance(it, accepted!!) }

    private fun layers(work: Work): Map<String, Double> = plan.stored.associate { i ->
        val (height, width) = plan.tensors[i].shape.subList(1, 3)
        plan.names[i] to share(work.changed[i].orEmpty(), height, width)
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
