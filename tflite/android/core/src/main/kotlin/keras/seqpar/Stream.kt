package keras.seqpar

import java.io.File
import java.io.FileNotFoundException

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
open class Stream internal constructor(
    private val plan: StreamPlan,
    engines: Engines,
    detector: Detector,
    include: List<Box>?,
    exclude: List<Box>,
    threads: Int,
) : FrameStream(plan.described(), plan.macs, detector, include, exclude) {
    internal val engine = StreamEngine(plan, engines, checkedThreads(threads))
    private var gains = ByteArray(0)
    private var isComplete = false
    private var work: Work? = null

    constructor(
        folder: File,
        engines: Engines,
        detector: Detector = Detector(),
        include: List<Box>? = null,
        exclude: List<Box> = emptyList(),
        threads: Int = 1,
    ) : this(StreamPlan.read(folder), engines, detector, include, exclude, threads)

    /** The nodes of the gains input, in order; empty for a network without one. */
    val gainLabels: List<String>
        get() = plan.gainLabels ?: List(network.gains?.size ?: 0) { "$it" }

    /**
     * The positions of a stored map that had to be computed for the last frame.
     *
     * @param layer its name, that of its tensor in the file.
     * @return one value per position, row by row.
     * @throws IllegalArgumentException there was no frame yet, or the map is unknown.
     */
    fun changeMap(layer: String): BooleanArray {
        val last = requireNotNull(work) { "No frame was seen yet." }
        val number = plan.stored.find { plan.names[it] == layer }
        requireNotNull(number) { "Unknown map '$layer'." }
        val (height, width) = plan.tensors[number].shape.subList(1, 3)
        return toMap(last.changed[number].orEmpty(), height, width)
    }

    override fun close() = engine.close()

    /** Name of a stored map -> a copy of its bytes. */
    internal val maps: Map<String, ByteArray>
        get() = plan.stored.associate { plan.names[it] to engine.maps.getValue(it).copyOf() }

    override fun forget() {
        isComplete = false
        work = null
    }

    override val keptBytes: Long get() = plan.stored.sumOf { plan.tensors[it].bytes.toLong() }

    override fun outputs() = plan.outputs.mapValues { engine.maps.getValue(it.value).copyOf() }

    override fun compute(frame: Frame, changed: BooleanArray, gains: ByteArray): Computed {
        val boxes = cover(changed, size.width)
        val work = if (isNew(gains)) engine.everything else engine.follow(boxes)
        return renew(frame, boxes, work, gains)
    }

    /** Whether everything has to be computed. */
    internal fun isNew(gains: ByteArray) = !isComplete || !gains.contentEquals(this.gains)

    /** Accepts boxes of a frame, and computes what there is to do. */
    internal fun renew(frame: Frame, boxes: List<Box>, work: Work, gains: ByteArray): Computed {
        val isAll = work === engine.everything
        val isDense = work.cost >= engine.everything.cost
        if (isAll || boxes.isNotEmpty()) {
            isComplete = false // if anything fails, the next frame is computed as a whole
            accept(frame, boxes)
            if (isAll) {
                this.gains = gains
                engine.setExtras(plan.extras.associateWith { gains })
                write(listOf(Box(0, 0, size.height, size.width)))
            } else {
                write(boxes)
            }
            engine.compute(if (isDense) engine.everything else work)
            isComplete = true
        }
        this.work = work
        return when {
            !isAll && boxes.isEmpty() -> Computed("cached", boxes, 0)
            isDense -> Computed("dense", boxes, plan.macs)
            else -> Computed("boxes", boxes, work.macs)
        }
    }

    /** Writes boxes of the accepted frame into the stored map of the input. */
    private fun write(boxes: List<Box>) {
        val map = engine.maps.getValue(plan.frame)
        for (box in boxes) encode(box) { at, row -> row.copyInto(map, at) }
    }
}

internal fun checkedThreads(threads: Int): Int {
    require(threads >= 1) { "threads must be 1 or more, got $threads." }
    return threads
}
