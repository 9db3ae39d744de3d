package keras.seqpar.sample

import java.io.File
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import keras.seqpar.Engine
import keras.seqpar.Engines
import keras.seqpar.Port
import keras.seqpar.Room
import keras.seqpar.Tensor
import org.tensorflow.lite.Interpreter

/**
 * Adapts LiteRT on Android: its Interpreter, which runs on the CPU with XNNPACK.
 *
 * LiteRT's newer CompiledModel (2.1) supports only float, int32, int8 and boolean buffers, but
 * files that take pixels have uint8 inputs.
 */
object LiteRtEngines : Engines {
    override fun open(file: File, threads: Int, signature: String?): Engine {
        val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(threads))
        return signature?.let { SignatureEngine(interpreter, it) } ?: GraphEngine(interpreter)
    }
}

/** Runs the first graph of a file. */
private class GraphEngine(private val interpreter: Interpreter) : Engine {
    override val inputs =
        List(interpreter.inputTensorCount) { port(interpreter.getInputTensor(it)) }
    override val outputs =
        List(interpreter.outputTensorCount) { port(interpreter.getOutputTensor(it)) }
    private val rooms = outputs.map { Room() }
    private var results = outputs.mapIndexed { i, port -> rooms[i].of(port.tensor.bytes) }

    override fun resize(shapes: List<List<Int>>) {
        shapes.forEachIndexed { i, shape -> interpreter.resizeInput(i, shape.toIntArray()) }
        interpreter.allocateTensors()
        results = rooms.mapIndexed { i, room -> room.of(interpreter.getOutputTensor(i).numBytes()) }
    }

    override fun run(inputs: List<ByteBuffer>): List<ByteBuffer> {
        results.rewind()
        val byIndex = results.withIndex().associate { (i, buffer) -> i to buffer as Any }
        interpreter.runForMultipleInputsOutputs(inputs.toTypedArray(), byIndex)
        return results.rewind()
    }

    override fun close() = interpreter.close()
}

/** Runs one signature of a file with several. */
private class SignatureEngine(
    private val interpreter: Interpreter,
    private val key: String,
) : Engine {
    override val inputs = interpreter.getSignatureInputs(key)
        .sortedBy { it != "image" } // puts the image first
        .map { port(interpreter.getInputTensorFromSignature(it, key), it) }
    override val outputs = interpreter.getSignatureOutputs(key)
        .map { port(interpreter.getOutputTensorFromSignature(it, key), it) }
    private val results = outputs.map { buffer(it) }

    override fun run(inputs: List<ByteBuffer>): List<ByteBuffer> {
        results.rewind()
        interpreter.runSignature(this.inputs.named(inputs), outputs.named(results), key)
        return results.rewind()
    }

    override fun close() = interpreter.close()

    private fun List<Port>.named(buffers: List<ByteBuffer>): Map<String, Any> =
        map { it.name }.zip(buffers).toMap()
}

private fun port(tensor: org.tensorflow.lite.Tensor, name: String = tensor.name()): Port {
    val scale = tensor.quantizationParams()
    val dtype = tensor.dataType().name.lowercase()
    val shape = tensor.shape().toList()
    return Port(name, Tensor(shape, dtype, scale.scale.toDouble(), scale.zeroPoint))
}

private fun buffer(port: Port): ByteBuffer =
    ByteBuffer.allocateDirect(port.tensor.bytes).order(ByteOrder.nativeOrder())

private fun List<ByteBuffer>.rewind(): List<ByteBuffer> = onEach { (it as Buffer).rewind() }
