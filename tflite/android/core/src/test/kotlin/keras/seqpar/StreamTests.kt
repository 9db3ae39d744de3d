package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import keras.seqpar.Checks.check

/** Tests streams: every output, stored map and box must be Python's, bit for bit. */
class StreamTests(private val python: PythonCases, private val engines: LiteRtLibrary) {
    private val cases = python.cases.objects("streams")
    private val modes = HashMap<String, Int>()
    private val counts = HashMap<Int, Int>() // boxes -> frames

    fun run() {
        for (case in cases) for (threads in 1..2) test(case, threads)
        check("all modes and several boxes were tested") {
            assertEquals(setOf("boxes", "cached", "dense"), modes.keys)
            check(counts.keys.any { it > 2 }) { "boxes: $counts" }
        }
        testImages()
        testGains()
        testWanted()
        testRefused()
        testDamaged()
    }

    private fun folder(name: String) = File(python.folder, name)

    private fun test(case: JsonObject, threads: Int) {
        val name = case.text("folder")
        check("$name is Python's, threads $threads") {
            val given = case["threshold"] as? Double
            val detector = Detector(given?.toFloat() ?: Detector.AUTO)
            Stream(folder(name), engines, detector, threads = threads).use { stream ->
                val outputs = File(folder(name), "outputs.bin").readBytes()
                var at = 0
                val frames = python.frames(case, stream)
                case.objects("results").forEachIndexed { i, wanted ->
                    val result = frames[i](stream)
                    val stats = result.stats
                    modes.merge(stats.mode, 1, Int::plus)
                    counts.merge(stats.boxes.size, 1, Int::plus)
                    assertEquals(wanted["cached"], stats.mode == "cached", "cached frame $i")
                    assertEquals(wanted.rows("boxes"), boxes(stats), "boxes of frame $i")
                    val layers = wanted.child("layers")
                    val changed = listOf(wanted.number("changed"))
                    assertClose(changed, floatArrayOf(stats.changed.toFloat()), 1e-6, "frame $i")
                    for (layer in layers.keys) {
                        val map = stream.changeMap(layer)
                        val share = floatArrayOf(map.count { it }.toFloat() / map.size)
                        assertClose(listOf(layers.number(layer)), share, 1e-6, "$layer of frame $i")
                    }
                    for ((output, found) in result.bytes) {
                        val part = outputs.copyOfRange(at, at + found.size)
                        assertBytes(part, found, "$output of frame $i")
                        at += found.size
                    }
                }
                assertEquals(outputs.size, at, "bytes of outputs")
                testMaps(case, stream)
            }
        }
    }

    private fun testMaps(case: JsonObject, stream: Stream) {
        val maps = File(folder(case.text("folder")), "maps.bin").readBytes()
        val sizes = case.child("maps")
        var at = 0
        for (map in sizes.keys) {
            val end = at + sizes.integer(map).toInt()
            assertBytes(maps.copyOfRange(at, end), stream.maps.getValue(map), map)
            at = end
        }
    }

    private fun boxes(stats: Stats) = stats.boxes.map { box ->
        listOf(box.top, box.left, box.bottom, box.right).map { it.toDouble() }
    }

    private fun testImages() {
        for (name in listOf("uint8", "float32", "logits", "none")) {
            check("a stream of $name.tflite gives the answers of Runner") {
                val runner = Runner(folder("$name.tflite"), engines)
                val stream = Stream(folder("${name}_0_0.0.stream"), engines)
                for (image in python.images.filter { it.width == it.height } + python.images) {
                    val wanted = runner.classify(image)
                    val found = stream.classify(image).answer
                    assertEquals(wanted.labels, found.labels)
                    assertEquals(wanted.none, found.none)
                    assertClose(wanted.scores.map { it.toDouble() }, found.scores, CLOSE)
                }
                runner.close()
                stream.close()
            }
        }
    }

    private fun testGains() {
        check("other gains compute everything, and gains are those of Runner") {
            val runner = Runner(folder("gains.tflite"), engines)
            Stream(folder("gains_0_0.0.stream"), engines).use { stream ->
                assertEquals(runner.gainLabels, stream.gainLabels)
                val image = python.images[0]
                for (gains in listOf(null, FloatArray(7) { it / 2f }, null)) {
                    val result = stream.classify(image, gains)
                    assertEquals("dense", result.stats.mode)
                    assertEquals("cached", stream.classify(image, gains).stats.mode)
                    val wanted = runner.classify(image, gains).scores.map { it.toDouble() }
                    assertClose(wanted, result.answer.scores, CLOSE)
                }
                assertFails<IllegalArgumentException>("takes 7 gains") {
                    stream.classify(image, FloatArray(2))
                }
            }
            runner.close()
        }
    }

    private fun testWanted() {
        check("changes count where they are looked for, and masks replace the detector") {
            val stream = Stream(
                folder("uint8_0_0.0.stream"), engines,
                include = listOf(Box(0, 0, 50, 96)), exclude = listOf(Box(10, 0, 20, 96)),
            )
            stream.use {
                val values = 96 * 96 * 3
                val frame = ByteArray(values) { 7 }
                assertFails<IllegalArgumentException>("No frame was seen") { stream.changeMap() }
                assertEquals("dense", stream.run(frame).stats.mode)
                for ((row, mode) in listOf(60 to "cached", 15 to "cached", 30 to "boxes")) {
                    frame[row * 96 * 3] = 99
                    val stats = stream.run(frame).stats
                    assertEquals(mode, stats.mode, "row $row")
                }
                assertEquals(1, stream.changeMap().count { it })
                val mask = BooleanArray(96 * 96).also { it[60 * 96] = true }
                assertEquals(listOf(Box(60, 0, 61, 1)), stream.run(frame, mask = mask).stats.boxes)
                stream.look()
                assertEquals(listOf(Box(15, 0, 16, 1)), stream.run(frame).stats.boxes)
                assertEquals("cached", stream.run(frame).stats.mode)
                assertFails<IllegalArgumentException>("another kind", "reset()") {
                    stream.run(FloatArray(values))
                }
                stream.reset()
                assertEquals("dense", stream.run(FloatArray(values)).stats.mode)
            }
        }
    }

    private fun testRefused() {
        val stream = folder("uint8_0_0.0.stream")
        check("frames and arguments of other sizes are refused") {
            Stream(stream, engines).use {
                assertFails<IllegalArgumentException>("27648 values", "got 5") {
                    it.run(ByteArray(5))
                }
                assertFails<IllegalArgumentException>("NaN or infinite") {
                    it.run(FloatArray(96 * 96 * 3) { Float.NaN })
                }
                assertFails<IllegalArgumentException>("mask must have 9216", "got 3") {
                    it.run(ByteArray(96 * 96 * 3), mask = BooleanArray(3))
                }
            }
            assertFails<IllegalArgumentException>("outside of frames of 96x96") {
                Stream(stream, engines, include = listOf(Box(0, 0, 97, 96)))
            }
            assertFails<IllegalArgumentException>("must be finite", "-1") { Detector(-1f) }
            assertFails<IllegalArgumentException>("threads must") {
                Stream(stream, engines, threads = 0)
            }
        }
        check("folders without a stream are refused") {
            assertFails<FileNotFoundException>("is no stream", "no such folder") {
                Stream(folder("gone"), engines)
            }
            assertFails<IllegalArgumentException>("no manifest of a stream") {
                Stream(folder("int8.pack"), engines)
            }
        }
    }

    private fun testDamaged() {
        val name = "uint8_0_0.0.stream"
        check("missing, truncated and changed files of runs are refused") {
            val copy = python.copied(name)
            val run = copy.listFiles()!!.first { it.name.startsWith("run_04") }
            val content = run.readBytes()
            run.writeBytes(content.copyOf(content.size - 1))
            assertFails<IllegalArgumentException>(run.name, "is truncated") {
                Stream(copy, engines)
            }
            run.writeBytes(content.copyOf().also { it[99] = (it[99] + 1).toByte() })
            assertFails<IllegalArgumentException>(run.name, "SHA-256") { Stream(copy, engines) }
            run.delete()
            assertFails<FileNotFoundException>("stream", run.name) { Stream(copy, engines) }
        }
        check("a damaged manifest is refused, without another error") {
            val copy = python.copied(name)
            val manifest = File(copy, "manifest.json")
            val text = manifest.readText()
            manifest.writeText(text.replace("\"version\": 1", "\"version\": 2"))
            assertFails<IllegalArgumentException>("format version 2.0") { Stream(copy, engines) }
            manifest.writeText(text.dropLast(9))
            assertFails<IllegalArgumentException>("truncated or damaged") { Stream(copy, engines) }
            val random = java.util.Random(0)
            val numbers = Regex("(?<=[ \\[])[0-9]+(?=[,\\]}])").findAll(text).toList()
            val files = HashMap<String, Engine>()
            repeat(400) {
                val place = numbers[random.nextInt(numbers.size)].range
                val other = listOf("-1", "0", "1", "3", "97", "1e9", "1.5", "\"x\"", "null", "[]")
                manifest.writeText(text.replaceRange(place, other[random.nextInt(other.size)]))
                try {
                    Stream(copy, { file, threads, key ->
                        files.getOrPut(file.name) { engines.open(file, threads, key) }
                            .apply { resize(inputs.map { it.tensor.shape }) }.kept()
                    }).use { stream -> stream.run(ByteArray(96 * 96 * 3)) }
                } catch (error: IllegalArgumentException) {
                    val message = error.message!!
                    check("manifest.json" in message || "manifest says" in message) { message }
                }
            }
            files.values.forEach { it.close() }
        }
    }

    /** The same engine, which is not closed. */
    private fun Engine.kept() = object : Engine by this {
        override fun close() = Unit

        override fun resize(shapes: List<List<Int>>) = this@kept.resize(shapes)
    }
}
