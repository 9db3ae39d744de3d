package keras.seqpar

import java.io.File
import keras.seqpar.Checks.check

/** Tests region streams: their scores are those of Python's. */
class RegionTests(private val python: PythonCases, private val engines: LiteRtLibrary) {
    private val cases = python.cases.objects("regions")

    fun run() {
        for (case in cases) {
            testSame(case, "exact") { RegionStream(it, engines) }
            testSame(case, "margin") {
                RegionStream(it, engines, margin = 3, minRegionPixels = 9, refresh = 6)
            }
        }
        testRefused(folder(cases[0]))
    }

    private fun folder(case: JsonObject) = File(python.folder, case.text("folder"))

    private fun testSame(case: JsonObject, name: String, make: (File) -> RegionStream) {
        check("${case.text("folder")} gives the bits of Python's region stream, $name") {
            val modes = HashMap<String, Int>()
            make(folder(case)).use { stream ->
                val wanted = File(folder(case), "$name.bin").readBytes()
                python.frames(case, stream).forEachIndexed { i, frame ->
                    val result = frame(stream)
                    modes.merge(result.stats.mode, 1, Int::plus)
                    val found = result.bytes.values.single()
                    val scores = wanted.copyOfRange(i * found.size, (i + 1) * found.size)
                    assertBytes(scores, found, "frame $i")
                    assertEquals(stream.outputSize[0] * stream.outputSize[1], result.classes.size)
                }
                stream.reset()
                assertEquals("dense", python.frames(case, stream)[0](stream).stats.mode)
            }
            assertEquals(setOf("boxes", "cached", "dense"), modes.keys)
        }
    }

    private fun testRefused(folder: File) {
        check("region streams refuse other networks and arguments out of range") {
            assertFails<IllegalArgumentException>("does not give one map") {
                RegionStream(File(python.folder, "uint8_0_0.0.stream"), engines)
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
    }
}
