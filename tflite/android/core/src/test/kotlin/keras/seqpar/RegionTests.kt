package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random
import keras.seqpar.Checks.check

/** Tests region streams: with the receptive field, the scores are those of whole frames. */
class RegionTests(private val python: PythonCases, private val engines: LiteRtLibrary) {
    private val cases = python.cases.objects("regions")

    fun run() {
        for (case in cases) {
            testExact(case)
            testMargin(case)
        }
        testRefused(folder(cases[0]))
    }

    private fun folder(case: JsonObject) = File(python.folder, case.text("folder"))

    private fun testExact(case: JsonObject) {
        check("${case.text("folder")} gives the scores of whole frames") {
            val modes = HashMap<String, Int>()
            val sizes = HashSet<List<Int>>()
            RegionStream(folder(case), engines, maxCostShare = 1.0).use { stream ->
                val wanted = File(folder(case), "outputs.bin").readBytes()
                python.frames(case, stream).forEachIndexed { i, frame ->
                    val result = frame(stream)
                    modes.merge(result.stats.mode, 1, Int::plus)
                    result.stats.boxes.mapTo(sizes) { listOf(it.height, it.width) }
                    val found = result.bytes.values.single()
                    val scores = wanted.copyOfRange(i * found.size, (i + 1) * found.size)
                    if (case.text("kind") == "int8") {
                        assertBytes(scores, found, "frame $i")
                    } else {
                        val floats = ByteBuffer.wrap(scores).order(ByteOrder.LITTLE_ENDIAN)
                        val numbers = List(scores.size / 4) { floats.getFloat(4 * it).toDouble() }
                        assertClose(numbers, result.output, 1e-5)
                    }
                    assertEquals(stream.outputSize[0] * stream.outputSize[1], result.classes.size)
                }
            }
            assertEquals(setOf("boxes", "cached", "dense"), modes.keys)
            check(sizes.size > 2) { "sizes: $sizes" }
        }
    }

    private fun testMargin(case: JsonObject) {
        check("${case.text("folder")} with a margin is nearly that, and refreshed in time") {
            RegionStream(
                folder(case), engines, Detector(0.1f), margin = 3, minRegionPixels = 2, refresh = 6,
            ).use { stream ->
                val exact = RegionStream(folder(case), engines)
                val frames = python.frames(case, stream)
                val dense = frames.indices.count { i ->
                    val result = frames[i](stream)
                    val classes = frames[i](exact).classes
                    val same = classes.indices.count { classes[it] == result.classes[it] }
                    check(same >= 0.9 * classes.size) { "frame $i: $same of ${classes.size}" }
                    result.stats.mode == "dense"
                }
                check(dense >= frames.size / 6) { "$dense frames are dense" }
                exact.close()
                stream.reset()
                assertEquals("dense", frames[0](stream).stats.mode)
            }
        }
    }

    private fun testRefused(folder: File) {
        check("region streams refuse other folders, small crops and arguments out of range") {
            assertFails<FileNotFoundException>("is no region stream") {
                RegionStream(File("gone"), engines)
            }
            assertFails<IllegalArgumentException>("no manifest of a region stream") {
                RegionStream(File(python.folder, "int8.pack"), engines)
            }
            assertFails<IllegalArgumentException>("even one changed pixel", "margin 40") {
                RegionStream(folder, engines, margin = 40)
            }
            assertFails<IllegalArgumentException>("maxCostShare must be", "1.5") {
                RegionStream(folder, engines, maxCostShare = 1.5)
            }
            RegionStream(folder, engines).use { stream ->
                assertFails<IllegalArgumentException>("15360 values", "got 5") {
                    stream.run(FloatArray(5))
                }
            }
        }
        check("a damaged manifest of a region stream is refused, without another error") {
            val copy = python.copied(folder.name)
            val manifest = File(copy, "manifest.json")
            val text = manifest.readText()
            val random = Random(0)
            val numbers = Regex("(?<=[ \\[])[0-9]+(?=[,\\]}])").findAll(text).toList()
            repeat(200) {
                val place = numbers[random.nextInt(numbers.size)].range
                val other = listOf("-1", "0", "1", "3", "97", "1e9", "1.5", "\"x\"", "null", "[]")
                manifest.writeText(text.replaceRange(place, other[random.nextInt(other.size)]))
                try {
                    RegionStream(copy, engines).use { stream ->
                        val frame = FloatArray(64 * 80 * 3)
                        stream.run(frame)
                        frame[3 * 80 * 30 + 90] = 1f
                        stream.run(frame)
                    }
                } catch (error: IllegalArgumentException) {
                    val message = error.message!!
                    check("manifest" in message || "No crop" in message) { message }
                }
            }
        }
    }
}
