package keras.seqpar

import java.io.File
import java.nio.ByteBuffer
import java.util.Base64
import keras.seqpar.Checks.check

fun testJson() {
    check("JSON written by Python is read") {
        val text = """ {"a": [1, -2.5e-3, "é\u00e9\n\"", true, null, {}], "b": {"c": []}} """
        val read = parseJson(text) as JsonObject
        val wanted = listOf(1.0, -0.0025, "éé\n\"", true, null)
        assertEquals(wanted, read.list("a").dropLast(1))
        assertEquals(emptyList<Any?>(), read.child("b").list("c"))
        assertEquals(setOf("a", "b"), read.keys)
        assertEquals(1.17549435e-38, parseJson("1.17549435e-38"))
    }
    check("text that is not JSON is refused") {
        val broken = listOf(
            "", "{", "[1,]", "{\"a\" 1}", "[1 2]", "tru", "01", "1.", "\"a", "\"\\x\"", "nan",
            "\"\\u12\"", "[]]", "{\"a\": }", "{a: 1}", "[".repeat(5000), "\"a\nb\"", "+1", "'a'",
        )
        for (text in broken) assertFails<IllegalArgumentException>("no JSON") { parseJson(text) }
    }
    check("entries of another type are refused with their name") {
        val read = parseJson("""{"a": "text", "b": 1.5, "c": null}""") as JsonObject
        assertFails<IllegalArgumentException>("a must be a number, got text") { read.number("a") }
        assertFails<IllegalArgumentException>("b must be a whole number") { read.integer("b") }
        assertFails<IllegalArgumentException>("c must be a list, got null") { read.list("c") }
        assertFails<IllegalArgumentException>("there is no d") { read.textOrNull("d") }
        assertEquals(null, read.textOrNull("c"))
    }
}

/** Tests that need no LiteRT: they use an engine with given inputs and outputs. */
fun testFakeEngines() {
    class FakeEngine(override val inputs: List<Port>, override val outputs: List<Port>) : Engine {
        var closed = false

        override fun run(inputs: List<ByteBuffer>) = outputs.map { it.tensor.buffer() }

        override fun close() {
            closed = true
        }
    }

    fun port(name: String, vararg shape: Int, dtype: String = "float32") =
        Port(name, Tensor(shape.toList(), dtype, 0.0, 0))
    val image = port("image", 1, 8, 8, 3)
    val contents = Contents(JsonObject(emptyMap()), null, emptyMap(), emptyMap())
    check("files that are not a network for one image are refused") {
        val scores = port("scores", 1, 5)
        for ((inputs, outputs) in listOf(
            listOf(port("image", 4, 8, 8, 3)) to listOf(scores),
            listOf(port("image", 1, 8, 8)) to listOf(scores),
            listOf(image) to listOf(scores, scores),
            listOf(image, image, image) to listOf(scores),
            emptyList<Port>() to listOf(scores),
            listOf(port("image", 1, 8, 8, 3, dtype = "int32")) to listOf(scores),
        )) {
            assertFails<IllegalArgumentException>("'some.tflite' ", "Wanted: ") {
                LoadedFile(File("some.tflite"), contents, FakeEngine(inputs, outputs))
            }
        }
    }
    check("a file that does not say how images are normalized takes values only") {
        val engine = FakeEngine(listOf(image), listOf(image))
        val loaded = LoadedFile(File("some.tflite"), contents, engine)
        loaded.set(FloatArray(192))
        assertFails<IllegalArgumentException>("some.tflite does not say how") {
            loaded.set(Image(1, 1, IntArray(1)))
        }
    }
    check("integers are scaled, rounded to even and clipped") {
        val tensor = Tensor(listOf(1, 6), "int8", 0.5, -3)
        val buffer = tensor.buffer()
        tensor.encode(floatArrayOf(0f, 0.25f, 0.75f, 1f, 1000f, -1000f), buffer)
        assertEquals(listOf(0f, 0f, 1f, 1f, 65f, -62.5f), tensor.decode(buffer).toList())
    }
    check("an answer among some categories") {
        val answer = Answer(listOf("a", "b", "c"), floatArrayOf(0.5f, 0.3f, 0.2f), false)
        val two = answer.among(listOf("c", "b"), isSoftmax = true)
        assertEquals(listOf("c", "b") to null, two.labels to two.none)
        assertClose(listOf(0.4, 0.6), two.scores, 1e-6)
        assertClose(listOf(0.2, 0.3), answer.among(two.labels, isSoftmax = false).scores, 1e-6)
        val zero = Answer(listOf("a", "b"), floatArrayOf(1f, 0f), null)
        assertEquals(listOf(0f), zero.among(listOf("b"), isSoftmax = true).scores.toList())
    }
    check("scores of all activations") {
        assertEquals(listOf(0.5f, 1f), activate(floatArrayOf(0f, 100f), "sigmoid").toList())
        assertEquals(listOf(3f, -1f), activate(floatArrayOf(3f, -1f), "linear").toList())
        assertEquals(listOf(3f, -1f), activate(floatArrayOf(3f, -1f), null).toList())
        assertEquals(listOf(1f, 0f), activate(floatArrayOf(1000f, -1000f), "softmax").toList())
    }
}

fun testImages(python: PythonCases) {
    for (name in python.names) {
        check("the square of $name is Python's, bit for bit") {
            val wanted = File(python.folder, name.replace(".png", ".rgb")).readBytes()
            val size = python.cases.integer("size").toInt()
            val square = readImage(File(python.folder, name)).square(size)
            assertEquals(wanted.size, square.size)
            val differing = wanted.indices.count { wanted[it] != square[it] }
            assertEquals(0, differing, "differing bytes")
        }
    }
    check("squares of all shapes, also with transparent parts, are Pillow's, bit for bit") {
        val cases = parseJson(File(python.folder, "squares.json").readText()) as List<*>
        for (case in cases.map { it as JsonObject }) {
            val (width, height, size) =
                listOf("width", "height", "size").map { case.integer(it).toInt() }
            val rgba = Base64.getDecoder().decode(case.text("rgba"))
            val pixels = IntArray(width * height) { at ->
                val (red, green, blue, alpha) = List(4) { rgba[4 * at + it].toInt() and 255 }
                (alpha shl 24) or (red shl 16) or (green shl 8) or blue
            }
            val square = Base64.getEncoder().encodeToString(Image(width, height, pixels).square(size))
            assertEquals(case.text("square"), square, "$width x $height to $size")
        }
    }
    check("transparent pixels show white, half-transparent ones a mixture") {
        val magenta = 0xff00ff
        val image = Image(3, 1, intArrayOf(magenta, magenta or (128 shl 24), magenta or (255 shl 24)))
        val wanted = listOf(0xffffffff, 0xffff7fff, 0xffff00ff).map { it.toInt() }
        assertEquals(wanted, image.opaque().toList())
    }
    check("a decoder shrinks no more than Pillow does") {
        val sizes = listOf(96 to 1, 191 to 1, 192 to 2, 400 to 4, 4000 to 8)
        for ((side, wanted) in sizes) assertEquals(wanted, Image.sampleSize(side, side + 9, 96))
    }
    check("pixels of another number are refused") {
        assertFails<IllegalArgumentException>("2 x 3 needs 6 pixels, got 5") {
            Image(2, 3, IntArray(5))
        }
        assertFails<IllegalArgumentException>("got 0") { Image(1, 1, IntArray(1)).square(0) }
    }
}
