package keras.seqpar

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * What a file takes or gives; two files of a pack fit where these are equal.
 *
 * @property shape all dimensions, the batch of 1 included.
 * @property dtype `float32`, `uint8` or `int8`.
 * @property scale an integer `q` stands for `scale * (q - zeroPoint)`; 0 for floats.
 * @property zeroPoint see [scale]; 0 for floats.
 */
data class Tensor(val shape: List<Int>, val dtype: String, val scale: Double, val zeroPoint: Int) {
    val size: Int get() = shape.fold(1, Int::times)
    val bytes: Int get() = if (dtype == "float32") 4 * size else size

    override fun toString(): String {
        val scaled = if (scale == 0.0) "" else ", scale $scale, zero point $zeroPoint"
        return "$dtype ${shape.joinToString(", ", "(", ")")}$scaled"
    }
}

/** An input or output of a file, by its name. */
data class Port(val name: String, val tensor: Tensor)

/**
 * A loaded .tflite file, in whatever runs such files here. Not for several threads at once.
 *
 * This is all that the rest of the package knows of LiteRT.
 */
interface Engine : AutoCloseable {
    /** In the order of the file's graph. */
    val inputs: List<Port>

    /** In the order of the file's graph. */
    val outputs: List<Port>

    /**
     * Runs the file once.
     *
     * @param inputs per input a direct buffer of `tensor.bytes` bytes in native byte order,
     *   position 0.
     * @return the same per output, valid until the next run.
     */
    fun run(inputs: List<ByteBuffer>): List<ByteBuffer>
}

/** Loads files. */
fun interface Engines {
    /**
     * @param threads number of CPU threads, 1 or more.
     * @param signature which of the file's signatures to run; `null` for a file of one.
     * @throws RuntimeException the file cannot be loaded.
     */
    fun open(file: File, threads: Int, signature: String?): Engine
}

/** A buffer that holds such a tensor. */
internal fun Tensor.buffer(): ByteBuffer =
    ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

/** Writes values; for integers they are scaled, rounded (half to even) and clipped. */
internal fun Tensor.encode(values: FloatArray, into: ByteBuffer) {
    if (dtype == "float32") {
        for (i in values.indices) into.putFloat(4 * i, values[i])
    } else {
        val scale = scale.toFloat() // divided in single precision, as NumPy does with float32
        for (i in values.indices) into.put(i, quantized((values[i] / scale).toDouble()))
    }
}

/** Writes pixels of 0 to 255, one unsigned byte each. */
internal fun Tensor.encode(pixels: ByteArray, into: ByteBuffer) {
    val same = dtype == "uint8" && scale == 1.0 && zeroPoint == 0
    for (i in pixels.indices) {
        val pixel = pixels[i].toInt() and 255
        when {
            dtype == "float32" -> into.putFloat(4 * i, pixel.toFloat())
            same -> into.put(i, pixels[i])
            else -> into.put(i, quantized(pixel / scale))
        }
    }
}

/** Reads values, scaled back where they are integers. */
internal fun Tensor.decode(from: ByteBuffer): FloatArray =
    when (dtype) {
        "float32" -> FloatArray(size) { from.getFloat(4 * it) }
        "uint8" -> FloatArray(size) { scaled(from.get(it).toInt() and 255) }
        else -> FloatArray(size) { scaled(from.get(it).toInt()) }
    }

private fun Tensor.quantized(steps: Double): Byte {
    val low = if (dtype == "int8") -128.0 else 0.0
    return (Math.rint(steps) + zeroPoint).coerceIn(low, low + 255).toInt().toByte()
}

private fun Tensor.scaled(q: Int): Float = ((q - zeroPoint) * scale.toFloat().toDouble()).toFloat()
