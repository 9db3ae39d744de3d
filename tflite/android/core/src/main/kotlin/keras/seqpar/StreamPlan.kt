package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.util.Base64

/** A file of a plan. */
internal class RunFile(val name: String, val bytes: Long, val sha256: String)

/**
 * A map that a run reads.
 *
 * @property border one value outside of the map, in the map's own type.
 * @property firstChannel the first of the channels that are copied.
 */
internal class Source(
    val tensor: Int,
    val rows: Reach,
    val cols: Reach,
    val border: ByteArray?,
    val firstChannel: Int,
    private val rank: Int,
    private val joined: Boolean, // columns and channels are one axis
) {
    /** The shape of the crop that [height] times [width] outputs read. */
    fun shape(height: Int, width: Int, channels: Int): List<Int> {
        val down = (rows as CropReach).size(height)
        val across = (cols as CropReach).size(width)
        val ends = if (joined) listOf(across * channels) else listOf(across, channels)
        return (listOf(1, down) + ends).takeLast(rank)
    }
}

/** A part of the network, in the order of computation; [outputs] are numbers of tensors. */
internal sealed class Step(val outputs: List<Int>)

/**
 * Operations that run on crops of [height] times [width] outputs.
 *
 * @property file `null` where values are copied to other positions.
 */
internal class CropStep(
    val file: RunFile?,
    val sources: List<Source>,
    val vectors: List<Int>,
    outputs: List<Int>,
    val height: Int,
    val width: Int,
    val macs: Long, // of one position
    private val startCost: Double,
    private val positionCost: Double,
) : Step(outputs) {
    /** The cost of computing outputs, in multiply-accumulates. */
    fun cost(height: Int, width: Int): Double = startCost + positionCost * height * width

    /** A source of which a crop becomes a larger map. */
    val grown: Source? = sources.find { it.rows is Transposed }
}

/** Operations that run on whole maps; without [rows], a change reaches everything. */
internal class WholeStep(
    val file: RunFile,
    val inputs: List<Int>,
    outputs: List<Int>,
    val macs: Long,
    val rows: Reach?,
    val cols: Reach?,
) : Step(outputs)

/** A map under another shape, in the same memory. */
internal class ViewStep(val source: Int, output: Int, val rows: Reach, val cols: Reach) :
    Step(listOf(output))

/**
 * What a stream computes, and in which pieces: the `manifest.json` that
 * keras_seqpar.selective.export_stream writes.
 *
 * @property names one name per tensor.
 * @property tensors shapes and types; maps are `(1, height, width, channels)`.
 * @property constants number of a tensor -> its bytes.
 * @property ofExtras what depends on the other inputs only.
 * @property dense what is computed whole for every change.
 * @property full everything at once.
 * @property outputs name of an output -> its tensor.
 */
internal class StreamPlan(private val path: File, config: JsonObject) {
    val network: String = config.text("network")
    val about: JsonObject = config.child("about")
    val labels: List<String>? = config.textsOrNull("labels")
    val gainLabels: List<String>? = config.textsOrNull("gain_labels")
    val macs: Long = config.integer("macs")
    val names: List<String>
    val tensors: List<Tensor>
    val constants: Map<Int, ByteArray>
    val frame: Int
    val extras: List<Int>
    val steps: List<Step>
    val ofExtras: WholeStep?
    val dense: WholeStep?
    val full: WholeStep
    val outputs: Map<String, Int>

    init {
        val listed = config.list("tensors").map { it as? JsonObject ?: damaged("a tensor is $it") }
        names = listed.map { it.text("name") }
        tensors = listed.map(::tensorOf)
        constants = listed.indices.filter { listed[it]["data"] != null }.associateWith { i ->
            Base64.getDecoder().decode(listed[i].text("data")).also {
                require(it.size == tensors[i].bytes) { "${names[i]} has ${it.size} bytes" }
            }
        }
        frame = number(config.integer("frame"))
        extras = numbered(config.child("inputs")).values - frame
        outputs = numbered(config.child("outputs"))
        steps = config.list("steps").map { step(it as? JsonObject ?: damaged("a step is $it")) }
        ofExtras = config.childOrNull("of_extras")?.let(::whole)
        dense = config.childOrNull("dense")?.let(::whole)
        full = whole(config.child("full"))
        check()
    }

    /** The numbers of the maps that are kept from frame to frame, without views. */
    val stored: List<Int>
        get() = listOf(frame) + steps.filter { it !is ViewStep }.flatMap { it.outputs }

    fun described() = StreamNetwork(
        network, about, labels, tensors[frame], extras.firstOrNull()?.let { tensors[it] },
        outputs.mapValues { tensors[it.value] },
    )

    private fun step(config: JsonObject): Step = when (val kind = config.text("kind")) {
        "crop" -> crop(config, runFileOf(config))
        "copy" -> crop(config, null)
        "whole" -> whole(config)
        "view" -> ViewStep(
            number(config.integer("source")), number(config.integer("output")),
            reach(config.child("rows")), reach(config.child("cols")),
        )
        else -> damaged("there is no kind of step '$kind'")
    }

    private fun crop(config: JsonObject, file: RunFile?): CropStep {
        val (height, width) = config.numbers("grid").map { wholeOf(it, 1) }
        val sources = config.list("sources")
            .map { source(it as? JsonObject ?: damaged("a source is $it")) }
        val isFitting = if (file == null) {
            sources.size == 1 && sources[0].rows is Spans && sources[0].cols is Spans
        } else {
            sources.all { it.rows is CropReach && it.cols is CropReach }
        }
        require(isFitting) { "a crop reads other than windows, or a copy other than spans" }
        val step = CropStep(
            file, sources, numbers(config, "vectors"), numbers(config, "outputs"),
            height, width, config.integer("macs"),
            config.number("start_cost"), config.number("position_cost"),
        )
        require(0 <= step.cost(0, 0) && step.cost(0, 0) <= step.cost(1, 1)) { "a cost is negative" }
        return step
    }

    private fun whole(config: JsonObject) = WholeStep(
        runFileOf(config), numbers(config, "inputs"), numbers(config, "outputs"),
        config.integer("macs"),
        (config["rows"] as? JsonObject)?.let(::reach),
        (config["cols"] as? JsonObject)?.let(::reach),
    )

    private fun source(config: JsonObject): Source {
        val (rows, cols) = listOf("rows", "cols").map { reach(config.child(it)) }
        val border = config.textOrNull("border")?.chunked(2)?.map { it.toInt(16).toByte() }
        val tensor = number(config.integer("tensor"))
        require(border == null || border.size == tensors[tensor].width) { "a border is $border" }
        // What changes is followed through windows, so these advance.
        require(tensor in constants || listOf(rows, cols).none { it is Window && it.stride == 0 }) {
            "a stride is 0"
        }
        val (rank, first) = listOf("rank" to 1, "first_channel" to 0).map { (key, least) ->
            wholeOf(config.number(key), least)
        }
        val isJoined = config["joined"] == true
        return Source(tensor, rows, cols, border?.toByteArray(), first, rank, isJoined)
    }

    private fun reach(config: JsonObject): Reach {
        if ("low" !in config.keys) {
            val (extent, stride, before) = listOf("extent", "stride", "before").map { key ->
                wholeOf(config.number(key), 0)
            }
            require(extent > 0) { "a window has the extent $extent" }
            if ("after" !in config.keys) return Window(extent, stride, before)
            val after = wholeOf(config.number("after"), 0)
            require(stride > 0) { "a stride is 0" }
            return Transposed(extent, stride, before, after)
        }
        val (low, high) = listOf("low", "high").map { key ->
            config.numbers(key).map { it.toInt() }
        }
        require(low.size == high.size) { "${low.size} spans have ${high.size} ends" }
        return Spans(low, high)
    }

    private fun numbered(config: JsonObject) =
        config.keys.associateWith { number(config.integer(it)) }

    private fun numbers(config: JsonObject, key: String) =
        config.numbers(key).map { number(it.toLong()) }

    private fun number(found: Long): Int {
        require(found in tensors.indices) { "there is no tensor $found" }
        return found.toInt()
    }

    private fun check() {
        val made = (constants.keys + extras + frame).toMutableSet()
        fun read(numbers: List<Int>) = require(made.containsAll(numbers)) {
            "${numbers.filter { it !in made }.map { names[it] }} are read before they are made"
        }

        fun map(number: Int) = require(tensors[number].shape.size == 4) {
            "${names[number]} is no map"
        }
        require(extras.size <= 1 && outputs.isNotEmpty()) { "the inputs are $extras" }
        for (end in extras + frame + outputs.values) {
            require(tensors[end].dtype in ENDS) { "${names[end]} is ${tensors[end].dtype}" }
        }
        map(frame)
        ofExtras?.let { read(it.inputs) }
        made += ofExtras?.outputs.orEmpty()
        for (step in steps) {
            when (step) {
                is CropStep -> {
                    read(step.sources.map { it.tensor } + step.vectors)
                    step.sources.forEach { map(it.tensor) }
                    step.outputs.forEach(::map)
                    if (step.file == null) checkCopy(step)
                    for (i in step.outputs) {
                        require(tensors[i].shape.subList(1, 3) == listOf(step.height, step.width)) {
                            "a run makes ${names[i]} of ${tensors[i].shape}"
                        }
                    }
                }
                is WholeStep -> {
                    read(step.inputs)
                    step.outputs.forEach(::map)
                    require(step.rows != null && step.cols != null && step.outputs.isNotEmpty()) {
                        "${step.file.name} has no rows"
                    }
                }
                is ViewStep -> {
                    read(listOf(step.source))
                    (step.outputs + step.source).forEach(::map)
                    require(tensors[step.source].bytes == tensors[step.outputs[0]].bytes) {
                        "${names[step.outputs[0]]} is no view"
                    }
                }
            }
            made += step.outputs
        }
        dense?.let { read(it.inputs) }
        made += dense?.outputs.orEmpty()
        require(full.inputs.toSet() == (extras + frame).toSet()) { "${full.inputs} are the inputs" }
        val all = stored - frame + ofExtras?.outputs.orEmpty() + dense?.outputs.orEmpty()
        require(full.outputs.toSet() == all.toSet()) { "${full.outputs} are made at once" }
        read(outputs.values.toList())
    }

    private fun checkCopy(step: CropStep) {
        val source = step.sources[0]
        val (from, into) = Pair(tensors[source.tensor], tensors[step.outputs.single()])
        val (rows, cols) = Pair(source.rows as Spans, source.cols as Spans)
        require(rows.low.size == step.height && cols.low.size == step.width) {
            "a copy has other spans than outputs"
        }
        require(source.firstChannel + into.shape[3] <= from.shape[3] && from.dtype == into.dtype) {
            "a copy of $from is $into"
        }
    }

    /** Checks that a file is the one in the manifest, and returns it. */
    fun checked(run: RunFile): File = checkFile(path.parentFile, run, "stream")

    companion object {
        private const val FORMAT = "keras_seqpar stream"
        private const val VERSION = 1.0
        /**
         * Reads and checks the manifest of a stream. The other files are not checked.
         *
         * @throws FileNotFoundException there is no such folder, or no manifest in it.
         * @throws IllegalArgumentException the manifest is damaged or has another version.
         */
        fun read(folder: File): StreamPlan {
            val path = File(folder, Manifest.FILE)
            val config = readManifest(path, FORMAT, VERSION, "stream")
            return refusingDamage(path) { StreamPlan(path, config) }
        }

        private fun damaged(why: String): Nothing = throw IllegalArgumentException(why)
    }
}

internal fun JsonObject.textsOrNull(key: String): List<String>? =
    if (this[key] == null) null else texts(key)

/** Reads a tensor of a manifest. */
internal fun tensorOf(config: JsonObject): Tensor {
    val shape = config.numbers("shape").map { wholeOf(it, 1) }
    val dtype = config.text("dtype")
    require(dtype in Tensor.WIDTHS) { "there is no dtype '$dtype'" }
    val size = shape.fold(1L) { all, side -> minOf(all * side, MOST_VALUES) }
    require(size < MOST_VALUES) { "a shape is $shape" }
    val zeroPoint = config.integer("zero_point").toInt()
    return Tensor(shape, dtype, config.number("scale"), zeroPoint)
}

/** Reads what a manifest says about a file. */
internal fun runFileOf(config: JsonObject): RunFile {
    val (name, sha256) = Pair(config.text("file"), config.text("sha256").lowercase())
    require(NAME.matches(name) && name.endsWith(".${sha256.take(12)}.tflite")) {
        "a file is called '$name'" // also: it is in no other folder
    }
    return RunFile(name, config.integer("bytes"), sha256)
}

/** Checks that the file in a folder is the one in the manifest, and returns its path. */
internal fun checkFile(folder: File, run: RunFile, kind: String): File =
    checkFile(folder, run.name, run.bytes, run.sha256, kind) { "Copy the folder again." }

/** Calls a block that reads a manifest; its errors name the manifest. */
internal fun <T> refusingDamage(path: File, block: () -> T): T =
    try {
        block()
    } catch (error: IllegalArgumentException) {
        val why = "'$path' is damaged (${error.message}). Copy it again."
        throw IllegalArgumentException(why, error)
    }

private fun wholeOf(given: Double, least: Int): Int {
    require(given % 1 == 0.0 && given >= least && given <= MOST_SIDE) { "a size is $given" }
    return given.toInt()
}

/** The types of inputs and outputs. */
internal val ENDS = listOf("float32", "uint8", "int8")
private const val MOST_VALUES = 1L shl 28
private const val MOST_SIDE = 1 shl 24
private val NAME = Regex("[a-z0-9_]+\\.[0-9a-f]{12}\\.tflite")
