package keras.seqpar

import java.io.File
import keras.seqpar.Checks.check

/** Tests streams of crops. */
class CropTests(private val python: PythonCases, private val engines: LiteRtLibrary) {
    private val cases = python.cases.child("crops")
    private val file = File(python.folder, cases.text("file"))
    private val frames = File(python.folder, cases.text("frames")).readBytes()

    fun run() {
        for (case in cases.objects("streams")) testStream(case)
        testCalibration()
        testRefused()
    }

    private fun frame(index: Int): FloatArray {
        val size = cases.integer("values").toInt()
        return FloatArray(size) { (frames[index * size + it].toInt() and 255).toFloat() }
    }

    private fun testStream(case: JsonObject) {
        val margin = (case["margin"] as Double?)?.toInt()
        val threshold = case.number("threshold").toFloat()
        val refresh = (case["refresh"] as Double?)?.toInt()
        check("crops are Python's, margin $margin, threshold $threshold, refresh $refresh") {
            CropStream(
                file, engines, margin,
                threshold = threshold, refresh = refresh, most = 1.0, calibrate = false,
            ).use { stream ->
                assertEquals(cases.texts("labels"), stream.labels)
                case.objects("results").forEachIndexed { i, wanted ->
                    val found = stream.run(frame(i))
                    assertEquals(wanted.text("mode"), found.mode, "mode of frame $i")
                    assertEquals(wanted.texts("signatures"), found.signatures, "frame $i")
                    val boxes = found.boxes.map { box ->
                        listOf(box.top, box.left, box.bottom, box.right).map { it.toDouble() }
                    }
                    assertEquals(wanted.rows("boxes"), boxes, "boxes of frame $i")
                    val shares = listOf(found.changed, found.recomputed).map { it.toFloat() }
                    assertClose(wanted.numbers("shares"), shares.toFloatArray(), 1e-6)
                    val classes = wanted.numbers("classes").map { it.toInt() }
                    val other = classes.indices.count { classes[it] != found.classes[it] }
                    assertEquals(classes.size, found.classes.size)
                    check(other <= classes.size / 1000) { "$other classes of frame $i differ" }
                }
            }
        }
    }

    private fun testCalibration() {
        check("signatures are measured at the first frame, and all are closed") {
            CropStream(file, engines, most = 1.0).use { stream ->
                assertEquals("full", stream.run(frame(0)).mode)
                assertEquals("cached", stream.run(frame(0)).mode)
                stream.reset()
                assertEquals("full", stream.run(frame(0)).mode)
            }
        }
    }

    private fun testRefused() {
        check("files without crops, too large margins and frames of another size are refused") {
            assertFails<IllegalArgumentException>("none.tflite has no crops", "convert_crops") {
                CropStream(File(python.folder, "none.tflite"), engines)
            }
            assertFails<IllegalArgumentException>("even one changed pixel", "margin 30") {
                CropStream(file, engines, margin = 30)
            }
            assertFails<IllegalArgumentException>("most must be a share", "1.5") {
                CropStream(file, engines, most = 1.5)
            }
            assertFails<IllegalArgumentException>("threshold must be finite", "-1") {
                CropStream(file, engines, threshold = -1f)
            }
            CropStream(file, engines).use { stream ->
                assertFails<IllegalArgumentException>("64x80x3 finite values, got 5") {
                    stream.run(FloatArray(5))
                }
                val broken = frame(0).also { it[7] = Float.NaN }
                assertFails<IllegalArgumentException>("finite values") { stream.run(broken) }
            }
        }
    }
}
