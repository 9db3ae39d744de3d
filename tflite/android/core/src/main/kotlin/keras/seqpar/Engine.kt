package keras.seqpar

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The shape, type and scale of an input or output. Two files of a pack fit together when the
 * output of one equals the input of the other.
 *
 * @property shape all dimensions, including the batch of 1.
 * @property dtype `float32`, `uint8` or `int8`; inside networks also others of [WIDTHS].
 * @property scale an integer `q` means `scale * (q - zeroPoint)`; 0 for floats.
 * @property zeroPoint see [scale]; 0 for floats.
 */
data class Tensor(val shape: List<Int>, val dtype: String, val scale: Double, val zeroPoint: Int) {
    val size: Int get() = shape.fold(1, Int::times)
    val bytes: Int get() = width * size

    /** Bytes of one value. */
    val width: Int get() = WIDTHS.getValue(dtype)

    override fun toString(): String {
        val scaled = if (scale == 0.0) "" else ", scale $scale, zero point $zeroPoint"
        return "$dtype ${shape.joinToString(", ", "(", ")")}$scaled"
    }

    companion object {
        /** Name of a type -> bytes of one value. */
        val WIDTHS = mapOf(
            "bool" to 1, "int8" to 1, "uint8" to 1, "int16" to 2, "int32" to 4, "int64" to 8,
            "float32" to 4,
        )
    }
}

/** An input or output of a file, by its name. */
data class Port(val name: String, val tensor: Tensor)

/**
 * A loaded .tflite file. Implementations adapt LiteRT or another interpreter; the rest of the
 * package uses LiteRT through this interface only. Not thread-safe.
 */
interface Engine : AutoCloseable {
    /** All inputs, in the order of the file's graph. */
    val inputs: List<Port>

    /** All outputs, in the order of the file's graph. */
    val outputs: List<Port>

    /**
     * Runs the file once.
     *
     * @param inputs one direct buffer per input: `tensor.bytes` bytes in native byte order, at
     *   position 0.
     * @return one such buffer per output, valid until the next run.
     */
    fun run(inputs: List<ByteBuffer>): List<ByteBuffer>

    /**
     * Gives the first inputs other shapes; outputs follow. [inputs] and [outputs] do not change.
     *
     * @throws RuntimeException the file cannot be computed on such shapes.
     */
    fun resize(shapes: List<List<Int>>): Unit =
        throw UnsupportedOperationException("This engine cannot resize inputs.")
}

/** Memory for buffers of different sizes, so that few are allocated. */
class Room {
    private var memory = ByteBuffer.allocateDirect(0)

    /** A direct buffer of this size, valid until the next call. */
    fun of(bytes: Int): ByteBuffer {
        if (bytes > memory.capacity()) memory = ByteBuffer.allocateDirect(bytes)
        memory.limit(bytes)
        return memory.slice().order(ByteOrder.nativeOrder())
    }
}

/** Loads files. */
fun interface Engines {
    /**
     * @param threads number of CPU threads, 1 or more.
     * @param signature the signature to run; `null` for a file with one signature.
     * @throws RuntimeException the file cannot be loaded.
     */
    fun open(file: File, threads: Int, signature: String?): Engine
}

/** Allocates a buffer for the values of this tensor. */
internal fun Tensor.buffer(): ByteBuffer =
    ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

/** Writes values into a buffer; for integers, scaled, rounded (half to even) and clipped. */
internal fun Tensor.encode(values: FloatArray, into: ByteBuffer) {
    if (dtype == "float32") {
        for (i in values.indices) into.putFloat(4 * i, values[i])
    } else {
        val scale = scale.toFloat() // divided in single precision, as NumPy does with float32
        for (i in values.indices) into.put(i, quantized((values[i] / scale).toDouble()))
    }
}

/** Writes pixels into a buffer; every byte is an unsigned pixel value from 0 to 255. */
internal fun Tensor.encode(pixels: ByteArray, into: ByteBuffer) {
    val unscaled = dtype == "uint8" && scale == 1.0 && zeroPoint == 0
    for (i in pixels.indices) {
        val pixel = pixels[i].toInt() and 255
        when {
            dtype == "float32" -> into.putFloat(4 * i, pixel.toFloat())
            unscaled -> into.put(i, pixels[i])
            else -> into.put(i, quantized(pixel / scale))
        }
    }
}

/** Reads values from a buffer; integers are scaled back to floats. */
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
