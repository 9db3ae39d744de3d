package keras.seqpar

import com.sun.jna.Memory
import com.sun.jna.NativeLibrary
import com.sun.jna.Pointer
import com.sun.jna.ptr.IntByReference
import com.sun.jna.ptr.LongByReference
import com.sun.jna.ptr.PointerByReference
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Adapts LiteRT on a desktop: the C library of Python's ai-edge-litert, through JNA.
 *
 * The functions are declared in LiteRT's litert/c/litert_model.h, litert_compiled_model.h and
 * litert_tensor_buffer.h. For 64-bit machines and version 2.3.
 *
 * @param library path of `libLiteRt.so`.
 */
class LiteRtLibrary(library: File) : Engines {
    private val c = NativeLibrary.getInstance("c")
    private val native = NativeLibrary.getInstance(library.absolutePath)
    private val environment = create("LiteRtCreateEnvironment", 0, null)

    /** The number of loaded files. */
    var open = 0
        private set

    override fun open(file: File, threads: Int, signature: String?): Engine =
        LiteRtModel(file, threads, signature)

    /** Calls a function that returns a status. */
    private fun call(name: String, vararg arguments: Any?) {
        val status = native.getFunction(name).invokeInt(arguments)
        if (status != 0) throw IllegalStateException("$name failed with status $status.")
    }

    /** Calls a function whose last argument receives a handle. */
    private fun create(name: String, vararg arguments: Any?): Pointer {
        val handle = PointerByReference()
        call(name, *arguments, handle)
        return handle.value
    }

    private fun count(name: String, vararg arguments: Any?): Long {
        val count = LongByReference()
        call(name, *arguments, count)
        return count.value
    }

    private fun destroy(name: String, handle: Pointer) =
        native.getFunction(name).invoke(arrayOf(handle))

    private inner class LiteRtModel(file: File, threads: Int, key: String?) : Engine {
        private val model = create("LiteRtCreateModelFromFile", environment, file.path)
        private val options = create("LiteRtCreateOptions")
        private val signature: Long
        private val compiled: Pointer
        private val inputBuffers: List<Buffer>
        private val outputBuffers: List<Buffer>

        init {
            call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
            val toml = c.getFunction("strdup").invokePointer(arrayOf("num_threads = $threads\n"))
            val cpu = create("LiteRtCreateOpaqueOptions", "xnnpack", toml, c.getFunction("free"))
            call("LiteRtAddOpaqueOptions", options, cpu)
            compiled = create("LiteRtCreateCompiledModel", environment, model, options)
            signature = (0 until count("LiteRtGetNumModelSignatures", model)).first {
                val handle = create("LiteRtGetModelSignature", model, it)
                key == null || create("LiteRtGetSignatureKey", handle).getString(0) == key
            }
            val handle = create("LiteRtGetModelSignature", model, signature)
            val graph = create("LiteRtGetSignatureSubgraph", handle)
            inputBuffers = buffers("Input", handle).inOrder("Input", graph)
            outputBuffers = buffers("Output", handle).inOrder("Output", graph)
            open++
        }

        override val inputs: List<Port> get() = inputBuffers.map { it.port }
        override val outputs: List<Port> get() = outputBuffers.map { it.port }

        override fun run(inputs: List<ByteBuffer>): List<ByteBuffer> {
            inputBuffers.zip(inputs) { buffer, values ->
                require(values.isDirect && values.capacity() == buffer.values.capacity())
                buffer.locked(WRITE) { it.put(values.duplicate().rewind() as ByteBuffer) }
            }
            call(
                "LiteRtRunCompiledModel",
                *arrayOf(compiled, signature),
                *arrayOf(inputBuffers.size.toLong(), handles(inputBuffers)),
                *arrayOf(outputBuffers.size.toLong(), handles(outputBuffers)),
            )
            outputBuffers.forEach { buffer ->
                buffer.locked(READ) { (buffer.values.duplicate().rewind() as ByteBuffer).put(it) }
            }
            return outputBuffers.map { it.values }
        }

        override fun resize(shapes: List<List<Int>>) {
            shapes.forEachIndexed { i, shape ->
                val sides = Memory(4L * shape.size)
                sides.write(0, shape.toIntArray(), 0, shape.size)
                val place = arrayOf(compiled, signature, inputBuffers[i].index)
                val resize = "LiteRtCompiledModelResizeInputTensorNonStrict"
                call(resize, *place, sides, shape.size.toLong())
                inputBuffers[i].reshape(shape)
            }
            val count = outputBuffers.size.toLong()
            val layouts = Memory(LAYOUT_BYTES * count)
            val outputLayouts = "LiteRtGetCompiledModelOutputTensorLayouts"
            call(outputLayouts, compiled, signature, count, layouts, 1) // 1: allocate
            for (buffer in outputBuffers) {
                val at = LAYOUT_BYTES * buffer.index
                val rank = layouts.getInt(at) and 127
                buffer.reshape(layouts.getIntArray(at + 4, rank).toList())
            }
        }

        override fun close() {
            (inputBuffers + outputBuffers).forEach { it.close() }
            destroy("LiteRtDestroyCompiledModel", compiled)
            destroy("LiteRtDestroyOptions", options)
            destroy("LiteRtDestroyModel", model)
            open--
        }

        /** Handles in the order of the signature, which is the order of a run's arguments. */
        private fun handles(buffers: List<Buffer>): Memory {
            val array = Memory(8L * buffers.size)
            buffers.forEach { array.setPointer(8 * it.index, it.handle) }
            return array
        }

        private fun buffers(kind: String, from: Pointer): List<Buffer> =
            (0 until count("LiteRtGetNumSignature${kind}s", from)).map { index ->
                val name = create("LiteRtGetSignature${kind}Name", from, index).getString(0)
                val tensor = create("LiteRtGetSignature${kind}TensorByIndex", from, index)
                val type = Memory(RANKED_TYPE_BYTES)
                call("LiteRtGetRankedTensorType", tensor, type)
                Buffer(kind, Port(name, described(tensor, type)), index, type)
            }

        /** The memory of an input or output. */
        private inner class Buffer(
            private val kind: String,
            val port: Port,
            val index: Long,
            private val type: Memory,
        ) {
            private var bytes = port.tensor.bytes
            var handle: Pointer = allocated()
                private set
            var values: ByteBuffer = port.tensor.buffer()
                private set

            private fun allocated(): Pointer {
                val requirements = "LiteRtGetCompiledModel${kind}BufferRequirements"
                val needs = create(requirements, compiled, signature, index)
                val managed = "LiteRtCreateManagedTensorBufferFromRequirements"
                return create(managed, environment, type, needs)
            }

            fun reshape(shape: List<Int>) {
                type.setInt(4, shape.size)
                type.write(8, shape.toIntArray(), 0, shape.size)
                bytes = shape.fold(port.tensor.width, Int::times)
                close()
                handle = allocated()
                values = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
            }

            fun locked(mode: Int, block: (ByteBuffer) -> Unit) {
                val memory = PointerByReference()
                call("LiteRtLockTensorBuffer", handle, memory, mode)
                block(memory.value.getByteBuffer(0, bytes.toLong()))
                call("LiteRtUnlockTensorBuffer", handle)
            }

            fun close() = destroy("LiteRtDestroyTensorBuffer", handle)
        }

        /** A signature may name tensors in another order than the graph. */
        private fun List<Buffer>.inOrder(kind: String, graph: Pointer): List<Buffer> =
            indices.map { index ->
                val tensor = create("LiteRtGetSubgraph$kind", graph, index.toLong())
                val name = create("LiteRtGetTensorName", tensor).getString(0)
                single { it.port.name == name }
            }
    }

    private fun described(tensor: Pointer, type: Pointer): Tensor {
        val rank = type.getInt(4) and 127 // bit 7 is set if there are strides
        val shape = type.getIntArray(8, rank).toList()
        val dtype = DTYPES[type.getInt(0)] ?: "type ${type.getInt(0)}"
        val kind = IntByReference()
        call("LiteRtGetQuantizationTypeId", tensor, kind)
        if (kind.value != PER_TENSOR) return Tensor(shape, dtype, 0.0, 0)
        val scale = Memory(16)
        call("LiteRtGetPerTensorQuantization", tensor, scale)
        return Tensor(shape, dtype, scale.getFloat(0).toDouble(), scale.getLong(8).toInt())
    }

    private companion object {
        const val CPU = 1
        const val READ = 0
        const val WRITE = 1
        const val PER_TENSOR = 1
        const val RANKED_TYPE_BYTES = 128L // it has 72
        const val LAYOUT_BYTES = 68L
        val DTYPES = mapOf(
            1 to "float32", 2 to "int32", 3 to "uint8", 4 to "int64", 6 to "bool", 7 to "int16",
            9 to "int8",
        )
    }
}
