package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import kotlin.math.abs

/**
 * The result for one frame.
 *
 * @property classes one class index per position of the output, row by row.
 * @property mode `full` if the whole frame was computed, `regions` if crops were, `cached` if
 *   nothing was.
 * @property changed share of the pixels that changed; 1 if frames were not compared.
 * @property recomputed pixels of all crops divided by the pixels of the frame.
 * @property signatures the signatures that were run, in order.
 * @property boxes the boxes of the crops.
 * @property milliseconds the time for the frame.
 */
class CropResult(
    val classes: IntArray,
    val mode: String,
    val changed: Double,
    val recomputed: Double,
    val signatures: List<String>,
    val boxes: List<Box>,
    val milliseconds: Double,
)

/**
 * Segments the frames of a stream, computing only crops around the changes.
 *
 * Counterpart of keras_seqpar.mobile.CropStream. Not thread-safe.
 *
 *     CropStream(File("street.tflite"), engines, margin = 6, threshold = 24f).use { camera ->
 *         val result = camera.run(frame)
 *     }
 *
 * Signatures are loaded when they are first needed.
 *
 * @param file a file from keras_seqpar.mobile.convert_crops.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param margin pixels of context around recomputed outputs; `null` for the receptive field. With
 *   the receptive field and threshold 0, a float file gives the classes of whole frames.
 * @param reach pixels around a change that are recomputed; `null` for the receptive field.
 * @param threshold a pixel counts as changed if a channel differs by more, in the frame's units.
 * @param least the smallest number of changed pixels of a region; smaller regions wait until they
 *   are larger.
 * @param most the whole frame is computed if crops cost more than this share of it.
 * @param refresh the whole frame is computed every `refresh` frames; `null` for never.
 * @param calibrate measure the time of every signature at the first frame. Otherwise the cost of a
 *   crop is its number of pixels.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException there is no such file.
 * @throws IllegalArgumentException the file has no crops, no crop is large enough for one changed
 *   pixel, or an argument is out of range.
 */
class CropStream(
    private val file: File,
    private val engines: Engines,
    margin: Int? = null,
    reach: Int? = margin,
    private val threshold: Float = 0f,
    private val least: Int = 1,
    private val most: Double = 0.7,
    private val refresh: Int? = null,
    private var calibrate: Boolean = true,
    private val threads: Int = 1,
) : AutoCloseable {
    private val loaded = HashMap<String, LoadedFile>()
    private val sizes: List<CropSize>
    private val planner: CropPlanner
    private var accepted: FloatArray? = null
    private var output: IntArray? = null
    private var sinceFull = 0

    /** Height, width and channels of frames. */
    val frameShape: List<Int>

    /** Height and width of the map of classes. */
    val outputSize: List<Int>

    /** One label per class, or `null`. */
    val labels: List<String>?

    init {
        require((margin ?: 0) >= 0 && (reach ?: 0) >= 0 && least >= 1 && (refresh ?: 1) >= 1) {
            "margin and reach must be 0 or more, least and refresh 1 or more, got $margin, " +
                "$reach, $least, $refresh."
        }
        require(most > 0 && most <= 1) { "most must be a share above 0 and up to 1, got $most." }
        require(threshold.isFinite() && threshold >= 0) {
            "threshold must be finite and 0 or more, got $threshold."
        }
        val contents = readTflite(file)
        require("crops" in contents.about.keys) {
            "${file.name} has no crops. Files of a network with crops of fixed sizes come from " +
                "keras_seqpar.mobile.convert_crops."
        }
        val layout = contents.about.child("crops")
        frameShape = layout.numbers("frame").map { it.toInt() }
        labels = contents.labels
        val barrier = layout.text("barrier")
        require(barrier.isEmpty() || (margin != null && reach != null)) {
            "No crop gives what a whole frame gives in ${file.name} ($barrier). Give margin and " +
                "reach in pixels."
        }
        val rows = Axis.read(layout.child("rows"))
        val cols = Axis.read(layout.child("cols"))
        outputSize = listOf(rows.outputs, cols.outputs)
        sizes = layout.list("sizes").map { size ->
            val (height, width) = (size as List<*>).map { (it as Double).toInt() }
            CropSize(height, width, height.toDouble() * width)
        }
        planner = CropPlanner(
            rows.within(margin),
            cols.within(margin),
            rows.within(reach),
            cols.within(reach),
            sizes,
        )
        val (y, x) = Pair(rows.size / 2, cols.size / 2)
        require(planner.crops(Box(y, x, y + 1, x + 1)) != null) {
            "No crop of ${file.name} (${sizes.joinToString { "${it.height}x${it.width}" }}) holds " +
                "even one changed pixel with margin $margin and reach $reach; the receptive " +
                "field is ${rows.before} + ${rows.after} rows. Convert it with larger crops, or " +
                "give a smaller margin and reach."
        }
        network(FULL)
    }

    /**
     * Segments the next frame.
     *
     * @param frame height * width * channels values, in the range of the network's input.
     * @throws IllegalArgumentException the number of values is wrong, or some are not finite.
     */
    fun run(frame: FloatArray): CropResult {
        val start = System.nanoTime()
        require(frame.size == frameShape.fold(1, Int::times) && frame.all { it.isFinite() }) {
            "Frames of ${file.name} are ${frameShape.joinToString("x")} finite values, got " +
                "${frame.size}."
        }
        val due = refresh != null && sinceFull + 1 >= refresh
        val before = accepted
        val changed = if (output == null || before == null || due) null else changes(frame, before)
        val crops = changed?.let { planner.plan(it, least, most) }
        if (crops == null) computeFrame(frame) else computeCrops(frame, crops)
        val distinct = crops.orEmpty().distinctCrops()
        return CropResult(
            output!!.copyOf(),
            if (crops == null) "full" else if (crops.isEmpty()) "cached" else "regions",
            if (changed == null) 1.0 else changed.count { it }.toDouble() / changed.size,
            if (crops == null) 1.0 else distinct.sumOf { it.box.area }.toDouble() / pixels,
            if (crops == null) listOf(FULL) else distinct.map { it.signature },
            distinct.map { it.box },
            (System.nanoTime() - start) / 1e6,
        )
    }

    /** Forgets all frames: the next one is computed as a whole. */
    fun reset() {
        accepted = null
        output = null
        sinceFull = 0
    }

    override fun close() {
        loaded.values.forEach { it.close() }
        loaded.clear()
    }

    private val pixels: Int get() = frameShape[0] * frameShape[1]

    private fun changes(frame: FloatArray, before: FloatArray): BooleanArray {
        val channels = frameShape[2]
        return BooleanArray(pixels) { pixel ->
            val at = pixel * channels
            (at until at + channels).any { abs(frame[it] - before[it]) > threshold }
        }
    }

    private fun computeFrame(frame: FloatArray) {
        val first = accepted == null
        accepted = frame.copyOf()
        sinceFull = 0
        output = classes(FULL, frame)
        if (first && calibrate) measure(frame)
    }

    private fun computeCrops(frame: FloatArray, crops: List<Crop>) {
        val kept = accepted!!
        val (_, width, channels) = frameShape
        for (box in crops.map { it.changed }) {
            for (y in box.top until box.bottom) {
                val from = (y * width + box.left) * channels
                frame.copyInto(kept, from, from, from + box.width * channels)
            }
        }
        val map = output!!
        output = null // if a crop fails, the next frame is computed as a whole
        for (crop in crops.distinctCrops()) {
            val computed = classes(crop.signature, cut(kept, crop.box))
            val (height, across) = network(crop.signature).output.shape.slice(1..2)
            val (top, left) =
                Pair(planner.rows.offset(crop.box.top), planner.cols.offset(crop.box.left))
            val cols = planner.cols.known(crop.box.left, crop.box.right)
            val last = minOf(cols.last, left + across - 1)
            for (y in planner.rows.known(crop.box.top, crop.box.bottom)) {
                if (y - top >= height || last < cols.first) break
                val from = (y - top) * across - left
                val to = y * outputSize[1] + cols.first
                computed.copyInto(map, to, from + cols.first, from + last + 1)
            }
        }
        output = map
        sinceFull++
    }

    private fun cut(frame: FloatArray, box: Box): FloatArray {
        val (_, width, channels) = frameShape
        val crop = FloatArray(box.area * channels)
        for (y in 0 until box.height) {
            val from = ((box.top + y) * width + box.left) * channels
            frame.copyInto(crop, y * box.width * channels, from, from + box.width * channels)
        }
        return crop
    }

    /** The best class of every position; with a single class, 1 if its score exceeds 0.5. */
    private fun classes(signature: String, values: FloatArray): IntArray {
        val network = network(signature)
        network.set(values)
        network.run()
        return bestClasses(network.scores, network.output.shape.last())
    }

    private fun network(signature: String): LoadedFile =
        loaded.getOrPut(signature) { load(file, engines, threads, signature) }

    /** Measures the cost of all signatures: the fastest of a few runs, in pixels of a frame. */
    private fun measure(frame: FloatArray) {
        fun fastest(signature: String, values: FloatArray): Double = List(RUNS) {
            val start = System.nanoTime()
            classes(signature, values)
            (System.nanoTime() - start).toDouble()
        }.min()
        val pixel = fastest(FULL, frame) / pixels
        for (size in sizes) {
            val values = cut(frame, Box(0, 0, size.height, size.width))
            size.price = fastest("crop_${size.height}x${size.width}", values) / pixel
        }
        calibrate = false
    }

    private companion object {
        const val FULL = "full"
        const val RUNS = 3
    }
}
