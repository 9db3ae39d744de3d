package keras.seqpar

import java.io.File
import java.io.FileNotFoundException

/**
 * Segments the frames of a camera, computing only crops of fixed sizes around the changes.
 *
 * With [margin] `null` and a threshold of 0 the scores are those of a run of the whole frame: bit
 * for bit in int8, to rounding in float32. A margin in pixels is faster and not exact. [Stream] is
 * always exact. Counterpart of keras_seqpar.selective.region_stream. Not thread-safe.
 *
 *     RegionStream(File("street.regions"), engines, Detector(24f), margin = 6).use { camera ->
 *         val classes = camera.run(pixels).classes
 *     }
 *
 * A file is checked and loaded when it is first needed.
 *
 * @param folder a folder from keras_seqpar.selective.export_region_stream
 *   (`tflite/stream.py --crops`).
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param detector finds what changed.
 * @param include changes are looked for only here; `null` for everywhere.
 * @param exclude changes are not looked for here.
 * @param margin pixels around a change that are renewed, and pixels of context around these;
 *   `null` for the receptive field.
 * @param minRegionPixels changed pixels that a region must have; smaller regions wait until they
 *   grow.
 * @param maxCostShare share of a whole frame's cost from which on the whole frame is computed.
 * @param refresh the whole frame is computed every `refresh` frames; `null` for never.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException there is no such folder, or a file of it is missing.
 * @throws IllegalArgumentException a file is damaged or of another stream, no crop is large enough
 *   for one changed pixel, or an argument is out of range.
 */
class RegionStream private constructor(
    private val plan: RegionPlan,
    private val engines: Engines,
    detector: Detector,
    include: List<Box>?,
    exclude: List<Box>,
    margin: Int?,
    private val minRegionPixels: Int,
    private val maxCostShare: Double,
    private val refresh: Int?,
    private val threads: Int,
) : FrameStream(plan.network, plan.macs, detector, include, exclude) {
    private val runs = HashMap<RegionFile, Run>()
    private val planner = plan.planner(margin)
    private val map = ByteArray(plan.output.bytes)
    private var isComplete = false
    private var sinceFull = 0

    constructor(
        folder: File,
        engines: Engines,
        detector: Detector = Detector(),
        include: List<Box>? = null,
        exclude: List<Box> = emptyList(),
        margin: Int? = null,
        minRegionPixels: Int = 1,
        maxCostShare: Double = 0.7,
        refresh: Int? = null,
        threads: Int = 1,
    ) : this(
        RegionPlan.read(folder), engines, detector, include, exclude, margin, minRegionPixels,
        maxCostShare, refresh, checkedThreads(threads),
    )

    init {
        require((margin ?: 0) >= 0 && minRegionPixels >= 1 && (refresh ?: 1) >= 1) {
            "margin must be 0 or more, minRegionPixels and refresh 1 or more, got $margin, " +
                "$minRegionPixels, $refresh."
        }
        require(maxCostShare > 0 && maxCostShare <= 1) {
            "maxCostShare must be above 0 and up to 1, got $maxCostShare."
        }
        run(plan.full)
    }

    /** Height and width of the map of classes. */
    val outputSize: List<Int> get() = plan.output.shape.subList(1, 3)

    override fun close() {
        runs.values.forEach { it.close() }
        runs.clear()
    }

    override fun forget() {
        isComplete = false
    }

    override val keptBytes: Long get() = map.size.toLong()

    override fun outputs() = mapOf(plan.network.scores to map.copyOf())

    override fun compute(frame: Frame, changed: BooleanArray, gains: ByteArray): Computed {
        val isDue = refresh != null && sinceFull + 1 >= refresh
        val crops = if (!isComplete || isDue) {
            null
        } else {
            planner.plan(changed, minRegionPixels, maxCostShare)
        }
        if (crops != null && crops.isEmpty()) {
            sinceFull++
            return Computed("cached", emptyList(), 0, emptyMap())
        }
        isComplete = false // if anything fails, the next frame is computed as a whole
        if (crops == null) {
            acceptAll(frame, changed)
            val whole = Box(0, 0, size.height, size.width)
            computeBox(whole, plan.full)
            sinceFull = 0
            isComplete = true
            return Computed("dense", listOf(whole), plan.macs, emptyMap())
        }
        accept(frame, crops.map { it.changed })
        val boxes = crops.distinctCrops().map { it.box }
        for (box in boxes) computeBox(box, plan.crop(box))
        sinceFull++
        isComplete = true
        val macs = plan.macs * boxes.sumOf { it.area.toLong() } / (size.height * size.width)
        return Computed("boxes", boxes, macs, emptyMap())
    }

    /** Computes a box, and takes over the part of its scores that are those of the whole frame. */
    private fun computeBox(box: Box, file: RegionFile) {
        val run = run(file)
        val input = run.input(0)
        encode(box) { _, row -> input.put(row) }
        val scores = run.invoke()[0]
        val (height, across) = file.output.shape.subList(1, 3)
        val position = file.output.shape[3] * file.output.width
        val (top, left) = Pair(planner.rows.offset(box.top), planner.cols.offset(box.left))
        val cols = planner.cols.known(box.left, box.right)
        val last = minOf(cols.last, left + across - 1) // with a narrow margin, it may exceed it
        for (y in planner.rows.known(box.top, box.bottom)) {
            if (y - top >= height || last < cols.first) break
            scores.position(((y - top) * across + cols.first - left) * position)
            val to = (y * outputSize[1] + cols.first) * position
            scores.get(map, to, (last - cols.first + 1) * position)
        }
    }

    private fun run(file: RegionFile): Run = runs.getOrPut(file) {
        Run(plan.checked(file), engines, threads, listOf(file.input), listOf(file.output))
    }
}

/** A network for frames or crops of one size. */
internal class RegionFile(val file: RunFile, val input: Tensor, val output: Tensor)

/** The `manifest.json` that keras_seqpar.selective.export_region_stream writes. */
internal class RegionPlan(private val path: File, config: JsonObject) {
    private val rows = Axis.read(config.child("rows"))
    private val cols = Axis.read(config.child("cols"))
    private val barrier = config.text("barrier")
    private val crops: List<RegionFile>
    val output: Tensor
    val network: StreamNetwork
    val macs: Long = config.integer("macs")
    val full: RegionFile

    init {
        val input = tensorOf(config.child("input"))
        output = tensorOf(config.child("output"))
        network = StreamNetwork(
            config.text("network"), config.child("about"), config.textsOrNull("labels"),
            input, null, mapOf(config.text("output_name") to output),
        )
        fun file(config: JsonObject): RegionFile {
            fun sized(tensor: Tensor, key: String): Tensor {
                val (height, width) = config.numbers(key).map { it.toInt() }
                require(height > 0 && width > 0) { "$key is $height x $width" }
                return tensor.copy(shape = listOf(1, height, width, tensor.shape[3]))
            }
            return RegionFile(runFileOf(config), sized(input, "size"), sized(output, "output_size"))
        }
        for (tensor in listOf(input, output)) {
            require(tensor.shape.size == 4 && tensor.dtype in ENDS) { "there is no map in $tensor" }
        }
        full = file(config.child("full"))
        crops = config.list("crops").map {
            file(it as? JsonObject ?: throw IllegalArgumentException("a crop is $it"))
        }
        require(full.input == input && full.output == output) { "the full frame is ${full.input}" }
        require(listOf(rows.size, cols.size) == input.shape.subList(1, 3)) { "rows are $rows" }
        require(listOf(rows.outputs, cols.outputs) == output.shape.subList(1, 3)) {
            "rows are $rows"
        }
        for (crop in crops) {
            require(crop.input.shape[1] <= rows.size && crop.input.shape[2] <= cols.size) {
                "a crop is ${crop.input}"
            }
        }
    }

    fun crop(box: Box): RegionFile =
        crops.first { it.input.shape.subList(1, 3) == listOf(box.height, box.width) }

    /** What chooses crops; [margin] is `null` for the receptive field. */
    fun planner(margin: Int?): CropPlanner {
        require(barrier.isEmpty() || margin != null) {
            "No crop gives what a whole frame gives in ${network.name} ($barrier). Give a margin " +
                "in pixels."
        }
        val start = START_SHARE * rows.size * cols.size
        val sizes = crops.map { crop ->
            val (height, width) = crop.input.shape.subList(1, 3)
            CropSize(height, width, start + height.toDouble() * width)
        }
        val planner = CropPlanner(rows.within(margin), cols.within(margin), sizes)
        val (y, x) = Pair(rows.size / 2, cols.size / 2)
        require(planner.crops(Box(y, x, y + 1, x + 1)) != null) {
            "No crop of ${network.name} (${sizes.joinToString { "${it.height}x${it.width}" }}) " +
                "holds even one changed pixel with margin $margin; the receptive field is " +
                "${rows.before} + ${rows.after} rows. Export it with larger crops, or give a " +
                "smaller margin."
        }
        return planner
    }

    /** Checks that a file is the one in the manifest, and returns it. */
    fun checked(region: RegionFile): File =
        checkFile(path.parentFile, region.file, "region stream")

    companion object {
        private const val START_SHARE = 0.01 // of a frame: what starting a crop costs

        /** Reads and checks the manifest of a region stream; throws as [StreamPlan.read]. */
        fun read(folder: File): RegionPlan {
            val path = File(folder, Manifest.FILE)
            val config = readManifest(path, "keras_seqpar region stream", 1.0, "region stream")
            return refusingDamage(path) { RegionPlan(path, config) }
        }
    }
}
