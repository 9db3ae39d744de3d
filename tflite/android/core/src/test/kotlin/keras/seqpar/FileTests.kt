package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.io.RandomAccessFile
import keras.seqpar.Checks.check

/** Tests .tflite files of cutouts. */
class FileTests(private val python: PythonCases, private val engines: LiteRtLibrary) {
    private val folder = python.folder
    private val images = python.images

    fun run() {
        for (case in python.cases.objects("files")) testFile(case)
        for (case in python.cases.objects("nested_files")) testFile(case)
        testRefusedFiles(images[0])
        testSignatures()
        testClassifier()
    }

    private fun testFile(case: JsonObject) {
        val name = case.text("file")
        val bound = if (case["steps"] == true) STEP else CLOSE
        val gains = case.floatsOrNull("gains")
        for (threads in 1..2) {
            check("$name gives Python's scores, gains ${gains?.toList()}, threads $threads") {
                Runner(File(folder, name), engines, threads).use { runner ->
                    assertEquals(case.texts("labels"), runner.labels, "labels")
                    assertEquals("gains" in name, runner.gainLabels.isNotEmpty(), "gains")
                    val maxGain = if ("max_gain" in case.keys) case.number("max_gain") else null
                    assertEquals(maxGain?.toFloat(), runner.maxGain, "largest gain")
                    if ("gain_labels" in case.keys) {
                        assertEquals(case.texts("gain_labels"), runner.gainLabels, "gain labels")
                    }
                    images.forEachIndexed { i, image ->
                        val answer = runner.classify(image, gains)
                        python.compare(name, case.rows("scores")[i], answer.scores, bound)
                        assertEquals(case.flags("none")?.get(i), answer.none, "none of these")
                        val best = answer.scores.indices.maxBy { answer.scores[it] }
                        val wanted = Scored(answer.labels[best], answer.scores[best])
                        assertEquals(wanted, answer.top(2)[0])
                        assertEquals(2, answer.top(2).size)
                    }
                }
            }
        }
    }

    private fun testRefusedFiles(image: Image) {
        val small = File(folder, "gains.tflite")
        check("gains of another number, negative or not finite are refused") {
            Runner(small, engines).use { runner ->
                assertEquals(null, runner.maxGain)
                for (gains in listOf(listOf(1f), List(7) { -1f }, List(7) { Float.NaN })) {
                    assertFails<IllegalArgumentException>("gains.tflite takes 7 gains") {
                        runner.classify(image, gains.toFloatArray())
                    }
                }
            }
            Runner(File(folder, "none.tflite"), engines).use { runner ->
                assertFails<IllegalArgumentException>("none.tflite has no gains input") {
                    runner.classify(image, FloatArray(7))
                }
            }
        }
        check("values of another number are refused") {
            Runner(small, engines).use { runner ->
                assertEquals(listOf(1, 32, 32, 3), runner.inputShape)
                assertFails<IllegalArgumentException>("takes 3072 values", "got 5") {
                    runner.run(FloatArray(5))
                }
            }
        }
        check("a missing file is refused with its name") {
            assertFails<FileNotFoundException>("gone.tflite") {
                Runner(File("gone.tflite"), engines)
            }
        }
        check("a file of another kind is refused") {
            assertFails<IllegalArgumentException>("image0.png", "is no .tflite file") {
                Runner(File(folder, "image0.png"), engines)
            }
        }
        check("0 threads and unknown signatures are refused") {
            assertFails<IllegalArgumentException>("threads") { Runner(small, engines, 0) }
            assertFails<IllegalArgumentException>("one signature only", "'pets'") {
                Runner(small, engines, signature = "pets")
            }
        }
        check("a truncated file is refused, wherever it ends") {
            val cut = File(python.copied("gains.tflite"), "gains.tflite")
            RandomAccessFile(cut, "rw").use { file ->
                val steps = (0L until 4096) + (4096L until file.length() step 997)
                for (length in steps.reversed()) {
                    file.setLength(length)
                    assertFails<IllegalArgumentException>("gains.tflite' is") { readTflite(cut) }
                }
            }
        }
        check("a file with damaged bytes is read or refused, without another error") {
            val content = small.readBytes()
            val damaged = File(python.temporary(), "damaged.tflite")
            val random = java.util.Random(0)
            repeat(300) {
                val bytes = content.copyOf()
                repeat(20) { bytes[random.nextInt(4000)] = random.nextInt(256).toByte() }
                damaged.writeBytes(bytes)
                try {
                    readTflite(damaged)
                } catch (_: IllegalArgumentException) {
                }
            }
        }
        check("labels of another conversion are refused") {
            val copy = python.copied("gains.tflite")
            File(copy, "gains.labels.txt").writeText("one\ntwo\n")
            assertFails<IllegalArgumentException>("gains.labels.txt", "2 labels", "5 outputs") {
                Runner(File(copy, "gains.tflite"), engines)
            }
            File(copy, "gains.labels.txt").writeText("\uFEFF1\r2\r\n3 \n4\n5\n\n")
            assertFails<IllegalArgumentException>("gains.labels.txt", "disagrees") {
                Runner(File(copy, "gains.tflite"), engines)
            }
            File(copy, "gains.labels.txt").writeBytes(byteArrayOf(0xE9.toByte(), 10))
            assertFails<IllegalArgumentException>("gains.labels.txt", "is not in UTF-8") {
                Runner(File(copy, "gains.tflite"), engines)
            }
        }
        check("label files are read clean") {
            val text = "\uFEFFa\rb \r\ncafe\u0301\n\n"
            assertEquals(listOf("a", "b", "caf\u00E9"), lines(text.toByteArray()))
        }
    }

    private fun testSignatures() {
        val file = File(folder, "signatures.tflite")
        check("every signature gives the scores of its own cutout") {
            Runner(file, engines).use { assertEquals(listOf("pets", "all"), it.signatures) }
            for ((signature, alone) in listOf("pets" to "pets.tflite", "all" to "nested.tflite")) {
                val one = Runner(File(folder, alone), engines)
                Runner(file, engines, signature = signature).use { runner ->
                    assertEquals(signature, runner.signature)
                    assertEquals(one.labels, runner.labels)
                    for (image in images) {
                        val wanted = one.classify(image).scores.map { it.toDouble() }
                        assertClose(wanted, runner.classify(image).scores, 0.0)
                    }
                }
                one.close()
            }
            assertFails<IllegalArgumentException>("no signature 'cars'", "pets, all") {
                Runner(file, engines, signature = "cars")
            }
        }
    }

    private fun testClassifier() {
        check("Classifier reads a folder with a pack or with a file") {
            Classifier(File(folder, "int8.pack"), engines).use { model ->
                assertEquals(listOf("tench", "church", "parachute", "golf ball"), model.choices)
                assertEquals(emptyList<String>(), model.gains)
                assertEquals(96, model.side)
                model.choose(listOf("church", "tench"))
                assertEquals(listOf("church", "tench"), model.classify(images[0]).labels)
            }
            Classifier(python.copied("gains.tflite"), engines).use { model ->
                assertEquals(listOf("cat", "dog", "car", "ferry", "tug"), model.choices)
                assertEquals(7, model.gains.size)
                assertEquals(null, model.maxGain)
                val none = model.classify(images[0], FloatArray(7)).scores.toList()
                val neutral = model.classify(images[0], FloatArray(7) { 1f }).scores.toList()
                assertEquals(neutral, model.classify(images[0]).scores.toList())
                check(none != neutral) { "gains change nothing" }
                model.choose(listOf("tug", "cat"))
                val two = model.classify(images[0])
                assertEquals(listOf("tug", "cat"), two.labels)
                val pack = PackRunner(File(folder, "nested.pack"), engines, two.labels)
                val wanted = pack.use { it.classify(images[0]).scores }.map { it.toDouble() }
                assertClose(wanted, two.scores, CLOSE)
                assertFails<IllegalArgumentException>("Unknown category 'bus'. Valid: cat, dog") {
                    model.choose(listOf("bus"))
                }
            }
            assertFails<FileNotFoundException>("no one .tflite file") {
                Classifier(python.temporary(), engines)
            }
        }
    }
}
