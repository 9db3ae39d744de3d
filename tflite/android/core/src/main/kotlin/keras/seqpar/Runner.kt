package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer

/**
 * A .tflite file of a network or cutout that is loaded and ready to run.
 *
 * It takes what the Keras network takes and gives what it gives: integers at the file's inputs and
 * outputs are scaled here. As keras_seqpar.mobile.Runner. Not for several threads at once.
 *
 *     Runner(File("pets.tflite"), engines).use { runner ->
 *         val best = runner.classify(image).top(1)
 *     }
 *
 * @param file labels are read from `NAME.labels.txt` beside it, else from its own metadata.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param threads number of CPU threads.
 * @param signature for a file of several signatures, which one to run; by default the first. Its
 *   labels are read from the file alone.
 * @throws FileNotFoundException there is no such file.
 * @throws IllegalArgumentException it is truncated or no .tflite file for images, or its label
 *   file does not fit; an unknown signature.
 */
class Runner(
    val file: File,
    engines: Engines,
    threads: Int = 1,
    signature: String? = null,
) : AutoCloseable {
    private val loaded = load(file, engines, threads, signature)

    /** The names of all signatures; empty where the file has only one. */
    val signatures: List<String> = loaded.contents.severalSignatures

    /** The one that runs; `null` where the file has only one. */
    val signature: String? = signature ?: signatures.firstOrNull()

    /** `(1, height, width, channels)`. */
    val inputShape: List<Int> get() = loaded.image.shape

    /** One per score in order, or `null` where neither the file nor its label file has any. */
    val labels: List<String>? = loaded.orClose { labelsOf(file, it, this.signature) }

    /** The nodes that the gains input has a gain for, in order; empty for a file without. */
    val gainLabels: List<String> =
        loaded.contents.files[this.signature.let { if (it == null) GAINS else "$it.$GAINS" }]
            ?.let(::lines) ?: List(loaded.gains?.size ?: 0) { "$it" }

    /** The largest gain that the file was calibrated for; `null` where gains are not limited. */
    val maxGain: Float? = (loaded.contents.about["max_gain"] as? Double)?.toFloat()

    /** The scores are a softmax over the logits. */
    val isSoftmax: Boolean get() = loaded.contents.about["activation"] == "softmax"

    /**
     * Runs a network on an image of any size: its middle is resized and normalized first.
     *
     * @param gains as for [run].
     */
    fun classify(image: Image, gains: FloatArray? = null): Answer {
        setGains(gains)
        loaded.set(image)
        return answer()
    }

    /**
     * Runs a network on what it takes.
     *
     * @param values of one image, in the range that the Keras network takes.
     * @param gains one per node, 0 or more, 1 is neutral; neutral by default. What lies above
     *   [maxGain] is clipped.
     * @throws IllegalArgumentException values or gains of another number, gains that are negative
     *   or not finite, or gains for a network without.
     */
    fun run(values: FloatArray, gains: FloatArray? = null): Answer {
        setGains(gains)
        loaded.set(values)
        return answer()
    }

    override fun close() = loaded.close()

    private fun answer(): Answer {
        loaded.run()
        val scores = loaded.scores
        return Answer(
            labels ?: scores.indices.map { "$it" },
            scores,
            loaded.none?.let { it[0] > 0.5f },
        )
    }

    private fun setGains(gains: FloatArray?) {
        val tensor = loaded.gains
        if (tensor == null) {
            require(gains == null) { "${file.name} has no gains input." }
            return
        }
        val wanted = gains ?: FloatArray(tensor.size) { 1f }
        require(wanted.size == tensor.size && wanted.all { it.isFinite() && it >= 0 }) {
            "${file.name} takes ${tensor.size} gains that are finite and not negative, got " +
                "${wanted.joinToString()}."
        }
        val most = maxGain ?: Float.MAX_VALUE
        tensor.encode(FloatArray(wanted.size) { minOf(wanted[it], most) }, loaded.gainsBuffer!!)
    }

    private companion object {
        const val GAINS = "gains.txt"
    }
}

/** A loaded file, with room for what it takes. */
internal class Loaded(val file: File, val contents: Contents, private val engine: Engine) :
    AutoCloseable {
    private val scoresAt: Int
    private val noneAt: Int
    private val inputs: List<ByteBuffer>
    private var given: List<ByteBuffer> = emptyList()

    init {
        val outputs = engine.outputs.map { it.name }
        val scores = outputs.indices.filter { outputs[it] != NONE }
        val shapes = engine.inputs.map { it.tensor.shape }
        require(
            shapes.size in 1..2 && shapes[0].size == 4 && shapes[0][0] == 1 && scores.size == 1,
        ) {
            val found = (shapes + engine.outputs.map { it.tensor.shape }).joinToString()
            "'$file' is no network for one image: its inputs and outputs have the shapes " +
                "$found. Wanted: (1, height, width, channels), perhaps gains (1, nodes), and one " +
                "output, perhaps $NONE beside it."
        }
        for (port in engine.inputs + engine.outputs) {
            require(port.tensor.dtype in DTYPES) {
                "'$file' has ${port.tensor.dtype} at '${port.name}'. Wanted: " +
                    "${DTYPES.joinToString()}."
            }
        }
        scoresAt = scores[0]
        noneAt = outputs.indexOf(NONE)
        inputs = engine.inputs.map { it.tensor.buffer() }
    }

    val image: Tensor get() = engine.inputs[0].tensor
    val output: Tensor get() = engine.outputs[scoresAt].tensor
    val gains: Tensor? get() = engine.inputs.getOrNull(1)?.tensor
    val gainsBuffer: ByteBuffer? get() = inputs.getOrNull(1)
    val scores: FloatArray get() = output.decode(given[scoresAt])
    val none: FloatArray?
        get() = if (noneAt < 0) null else engine.outputs[noneAt].tensor.decode(given[noneAt])

    fun set(values: FloatArray) {
        require(values.size == image.size) {
            "${file.name} takes ${image.size} values of shape ${image.shape}, got " +
                "${values.size}."
        }
        image.encode(values, inputs[0])
    }

    fun set(image: Image) {
        val (_, height, width, channels) = this.image.shape
        require(height == width && channels == 3) {
            "${file.name} takes images of $height x $width x $channels; only square color " +
                "images can be made here. Call run() with what it takes."
        }
        val normalization = Normalization.read(contents.about)
        require(normalization != null && normalization.channels == channels) {
            "${file.name} does not say how its images are normalized: it was not made of a " +
                "network of keras_seqpar. Call run() with what it takes."
        }
        val pixels = image.square(height)
        if (normalization.isNeutral) {
            this.image.encode(pixels, inputs[0])
        } else {
            this.image.encode(normalization.apply(pixels), inputs[0])
        }
    }

    fun run() {
        given = engine.run(inputs)
    }

    /** Runs the file on another file's output; integers go in and come out as they are. */
    fun run(features: ByteBuffer) {
        given = engine.run(listOf(features))
    }

    /** What the last run gave, not scaled; valid until the next one. */
    val features: ByteBuffer get() = given[scoresAt]

    override fun close() = engine.close()

    /** What the block gives; where it fails, the file is closed first. */
    fun <T> orClose(block: (Loaded) -> T): T =
        try {
            block(this)
        } catch (error: Exception) {
            close()
            throw error
        }

    private companion object {
        const val NONE = "none_of_these"
        val DTYPES = listOf("float32", "uint8", "int8")
    }
}

/** Checks a file and loads it. */
internal fun load(file: File, engines: Engines, threads: Int, signature: String? = null): Loaded {
    require(threads >= 1) { "threads must be 1 or more, got $threads." }
    val contents = readTflite(file)
    val several = contents.severalSignatures
    require(signature == null || signature in several) {
        if (several.isEmpty()) {
            "${file.name} has one signature only, so there is no '$signature' to choose."
        } else {
            "${file.name} has no signature '$signature'. It has: ${several.joinToString()}."
        }
    }
    val engine = try {
        engines.open(file, threads, signature ?: several.firstOrNull())
    } catch (error: RuntimeException) {
        throw IllegalArgumentException(
            "'$file' cannot be loaded: ${error.message} The file is damaged, or the interpreter " +
                "too old for it.",
            error,
        )
    }
    try {
        return Loaded(file, contents, engine)
    } catch (error: IllegalArgumentException) {
        engine.close()
        throw error
    }
}

private fun labelsOf(file: File, loaded: Loaded, signature: String?): List<String>? {
    val beside = File(file.absoluteFile.parentFile, "${file.nameWithoutExtension}.labels.txt")
    val there = signature == null && beside.isFile
    val contents = loaded.contents
    val labels = when {
        there -> lines(beside.readBytes())
        signature == null -> contents.labels
        else -> contents.signatures[signature]
    }
    val scores = loaded.output.shape.last()
    require(labels == null || labels.size == scores) {
        val where = if (there) "'$beside'" else "The metadata of ${file.name}"
        "$where has ${labels?.size} labels, but ${file.name} has $scores outputs. The two belong " +
            "to different conversions: convert again."
    }
    return labels
}

private val Contents.severalSignatures: List<String>
    get() = signatures.keys.toList().takeIf { it.size > 1 }.orEmpty()
