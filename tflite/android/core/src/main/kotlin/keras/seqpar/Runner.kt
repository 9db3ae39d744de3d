package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException

/**
 * Runs the .tflite file of a network or cutout.
 *
 * Inputs and outputs are those of the Keras network: this class scales values where the file has
 * integers. Counterpart of keras_seqpar.mobile.Runner. Not thread-safe.
 *
 *     Runner(File("pets.tflite"), engines).use { runner ->
 *         val best = runner.classify(image).top(1)
 *     }
 *
 * @param file the file; labels are read from its metadata, or else from `NAME.labels.txt`
 *   beside it.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param threads number of CPU threads.
 * @param signature the signature to run, for a file with several; by default the first. Its labels
 *   are read from the metadata only.
 * @throws FileNotFoundException there is no such file.
 * @throws IllegalArgumentException the file is truncated, is not a .tflite file for images, or its
 *   label file does not fit; or the signature is unknown.
 */
class Runner(
    val file: File,
    engines: Engines,
    threads: Int = 1,
    signature: String? = null,
) : AutoCloseable {
    private val loaded = load(file, engines, threads, signature)

    /** The names of all signatures; empty if the file has only one. */
    val signatures: List<String> = loaded.contents.severalSignatures

    /** The signature that runs; `null` if the file has only one. */
    val signature: String? = signature ?: signatures.firstOrNull()

    /** `(1, height, width, channels)`. */
    val inputShape: List<Int> get() = loaded.image.shape

    /** One label per score, or `null` if neither the metadata nor the label file has any. */
    val labels: List<String>? = loaded.closeOnError { labelsOf(file, it, this.signature) }

    /** The nodes of the gains input, in order; empty for a file without a gains input. */
    val gainLabels: List<String> =
        loaded.contents.files[this.signature.let { if (it == null) GAINS else "$it.$GAINS" }]
            ?.let(::lines) ?: List(loaded.gains?.size ?: 0) { "$it" }

    /** The largest gain that the file was calibrated for; `null` if gains are not limited. */
    val maxGain: Float? = (loaded.contents.about["max_gain"] as? Double)?.toFloat()

    /** The scores are a softmax over the logits. */
    val isSoftmax: Boolean get() = loaded.contents.about["activation"] == "softmax"

    /**
     * Runs the network on an image of any size. The square in its middle is resized and normalized.
     *
     * @param gains as for [run].
     */
    fun classify(image: Image, gains: FloatArray? = null): Answer {
        setGains(gains)
        loaded.set(image)
        return answer()
    }

    /**
     * Runs the network on input values.
     *
     * @param values the values of one image, in the range of the Keras network's input.
     * @param gains one per node, 0 or more, 1 is neutral; neutral by default. Gains above [maxGain]
     *   are clipped.
     * @throws IllegalArgumentException the number of values or gains is wrong, a gain is negative
     *   or not finite, or the network has no gains input.
     */
    fun run(values: FloatArray, gains: FloatArray? = null): Answer {
        setGains(gains)
        loaded.set(values)
        return answer()
    }

    override fun close() = loaded.close()

    private val activation: String? =
        loaded.closeOnError { activationOf(file.name, it.contents.about) }

    private fun answer(): Answer {
        loaded.run()
        val scores = activate(loaded.scores, activation)
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
        val values = checkedGains(file.name, tensor.size, gains, maxGain)
        tensor.encode(values, loaded.gainsBuffer!!)
    }

    private companion object {
        const val GAINS = "gains.txt"
    }
}

/** A loaded file and the buffers of its inputs. */
internal class LoadedFile(val file: File, val contents: Contents, private val engine: Engine) :
    AutoCloseable {
    private val scoresIndex: Int
    private val noneIndex: Int
    private val inputs: List<ByteBuffer>
    private var results: List<ByteBuffer> = emptyList()

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
        scoresIndex = scores[0]
        noneIndex = outputs.indexOf(NONE)
        inputs = engine.inputs.map { it.tensor.buffer() }
    }

    val image: Tensor get() = engine.inputs[0].tensor
    val output: Tensor get() = engine.outputs[scoresIndex].tensor
    val gains: Tensor? get() = engine.inputs.getOrNull(1)?.tensor
    val gainsBuffer: ByteBuffer? get() = inputs.getOrNull(1)
    val scores: FloatArray get() = output.decode(results[scoresIndex])
    val none: FloatArray?
        get() {
            if (noneIndex < 0) return null
            return engine.outputs[noneIndex].tensor.decode(results[noneIndex])
        }

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
                "images can be made here. Call run() with input values."
        }
        val normalization = Normalization.read(contents.about)
        require(normalization != null && normalization.channels == channels) {
            "${file.name} does not say how its images are normalized: it was not converted from " +
                "a network of keras_seqpar. Call run() with input values."
        }
        val pixels = image.square(height)
        if (normalization.isNeutral) {
            this.image.encode(pixels, inputs[0])
        } else {
            this.image.encode(normalization.apply(pixels), inputs[0])
        }
    }

    fun run() {
        results = engine.run(inputs)
    }

    /** Runs the file on another file's output; integers are not scaled. */
    fun run(features: ByteBuffer) {
        results = engine.run(listOf(features))
    }

    /** The output of the last run, not scaled; valid until the next run. */
    val features: ByteBuffer get() = results[scoresIndex]

    override fun close() = engine.close()

    /** Returns the result of the block; if the block fails, closes the file and throws. */
    fun <T> closeOnError(block: (LoadedFile) -> T): T =
        try {
            block(this)
        } catch (error: Exception) {
            close()
            throw error
        }

    private companion object {
        val DTYPES = listOf("float32", "uint8", "int8")
    }
}

/** Checks a file and loads it. */
internal fun load(
    file: File,
    engines: Engines,
    threads: Int,
    signature: String? = null,
): LoadedFile {
    require(threads >= 1) { "threads must be 1 or more, got $threads." }
    val contents = readTflite(file)
    val signatures = contents.severalSignatures
    require(signature == null || signature in signatures) {
        if (signatures.isEmpty()) {
            "${file.name} has one signature only, so there is no '$signature' to choose."
        } else {
            "${file.name} has no signature '$signature'. It has: ${signatures.joinToString()}."
        }
    }
    val engine = open(file, engines, threads, signature ?: signatures.firstOrNull())
    try {
        return LoadedFile(file, contents, engine)
    } catch (error: IllegalArgumentException) {
        engine.close()
        throw error
    }
}

/** Loads a file that was checked. */
internal fun open(file: File, engines: Engines, threads: Int, signature: String? = null): Engine =
    try {
        engines.open(file, threads, signature)
    } catch (error: RuntimeException) {
        throw IllegalArgumentException(
            "'$file' cannot be loaded: ${error.message} The file is damaged, or the interpreter " +
                "too old for it.",
            error,
        )
    }

/** Gains as a network takes them: neutral by default, and no larger than [most]. */
internal fun checkedGains(name: String, count: Int, given: FloatArray?, most: Float?): FloatArray {
    val gains = given ?: FloatArray(count) { 1f }
    require(gains.size == count && gains.all { it.isFinite() && it >= 0 }) {
        "$name takes $count gains that are finite and not negative, got ${gains.joinToString()}."
    }
    return FloatArray(count) { minOf(gains[it], most ?: Float.MAX_VALUE) }
}

/** What turns a file's outputs into scores; `null` where they are what the network gives. */
internal fun activationOf(name: String, about: JsonObject): String? {
    val outputs = about["outputs"] ?: "scores"
    if (outputs == "scores") return null
    val activation = about["activation"]
    require(outputs == "logits" && activation in listOf("softmax", "sigmoid", "linear", null)) {
        "$name gives $outputs for the activation $activation, which this version cannot turn " +
            "into scores. Convert it again."
    }
    return activation as String?
}

private fun labelsOf(file: File, loaded: LoadedFile, signature: String?): List<String>? {
    val contents = loaded.contents
    val inside = if (signature == null) contents.labels else contents.signatures[signature]
    val scores = loaded.output.shape.last()
    fun checkCount(labels: List<String>, where: String) = require(labels.size == scores) {
        "$where has ${labels.size} labels, but ${file.name} has $scores outputs. The two belong " +
            "to different conversions: convert again."
    }
    if (inside != null) checkCount(inside, "The metadata of ${file.name}")
    val beside = File(file.absoluteFile.parentFile, "${file.nameWithoutExtension}.labels.txt")
    if (signature != null || !beside.isFile) return inside
    val labels = try {
        lines(beside.readBytes())
    } catch (error: CharacterCodingException) {
        throw IllegalArgumentException("'$beside' is not in UTF-8. Save it in UTF-8.", error)
    }
    checkCount(labels, "'$beside'")
    require(labels.none { it.isEmpty() }) { "'$beside' has a blank line between its labels." }
    require(inside == null || labels == inside) {
        "'$beside' disagrees with the labels inside ${file.name}. Those inside belong to the " +
            "model: delete the label file."
    }
    return labels
}

private val Contents.severalSignatures: List<String>
    get() = signatures.keys.toList().takeIf { it.size > 1 }.orEmpty()

/** The output beside the scores of a network that knows a threshold. */
internal const val NONE = "none_of_these"
