package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.file.Files
import javax.imageio.ImageIO
import keras.seqpar.Checks.check
import kotlin.math.abs
import kotlin.system.exitProcess

/** Tests the core against what Python made: FOLDER of make_cases.py, path of libLiteRt.so. */
fun main(arguments: Array<String>) {
    val folder = File(arguments[0])
    val cases = parseJson(File(folder, "cases.json").readText()) as JsonObject
    val engines = LiteRtLibrary(File(arguments[1]))
    testJson()
    testFakes()
    testPictures(folder, cases)
    Tests(folder, engines).run(cases)
    temporaries.deleteRecursively()
    exitProcess(Checks.report())
}

private class Tests(private val folder: File, private val engines: LiteRtLibrary) {
    private val largest = LinkedHashMap<String, Double>() // file -> largest difference of a score

    fun run(cases: JsonObject) {
        val names = cases.texts("pictures")
        val pictures = names.map { read(File(folder, it)) }
        for (case in cases.objects("files")) testFile(case, pictures)
        val small = names.map { File(folder, it) }.map(::read)
        for (case in cases.objects("nested_files")) testFile(case, small)
        testRefusedFiles(small[0])
        testSignatures(small)
        for (pack in cases.objects("packs")) testPack(pack, pictures)
        testClassifier(pictures)
        testChoosing(pictures[0])
        testReloading(pictures[0])
        testRefusedPacks()
        check("every file that was loaded is closed") { assertEquals(0, engines.open) }
        largest.forEach { (name, most) -> println("%s: %.1e from Python".format(name, most)) }
    }

    private fun note(name: String, wanted: List<Double>, found: FloatArray) {
        val most = wanted.indices.maxOf { abs(wanted[it] - found[it]) }
        largest.merge(name, most, ::maxOf)
    }

    private fun testFile(case: JsonObject, pictures: List<Picture>) {
        val name = case.text("file")
        val bound = if (case["steps"] == true) STEP else CLOSE
        val gains = case.floatsOrNull("gains")
        for (threads in 1..2) {
            check("$name gives Python's scores, gains ${gains?.toList()}, threads $threads") {
                Runner(File(folder, name), engines, threads).use { runner ->
                    assertEquals(case.texts("labels"), runner.labels, "labels")
                    assertEquals("gains" in name, runner.gainLabels.isNotEmpty(), "gains")
                    val most = if ("max_gain" in case.keys) case.number("max_gain") else null
                    assertEquals(most?.toFloat(), runner.maxGain, "largest gain")
                    if ("gain_labels" in case.keys) {
                        assertEquals(case.texts("gain_labels"), runner.gainLabels, "gain labels")
                    }
                    pictures.forEachIndexed { i, picture ->
                        val answer = runner.classify(picture, gains)
                        assertClose(case.rows("scores")[i], answer.scores, bound)
                        note(name, case.rows("scores")[i], answer.scores)
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

    private fun testRefusedFiles(picture: Picture) {
        val small = File(folder, "gains.tflite")
        check("gains of another number, negative or not finite are refused") {
            Runner(small, engines).use { runner ->
                assertEquals(null, runner.maxGain)
                for (gains in listOf(listOf(1f), List(7) { -1f }, List(7) { Float.NaN })) {
                    assertFails<IllegalArgumentException>("gains.tflite takes 7 gains") {
                        runner.classify(picture, gains.toFloatArray())
                    }
                }
            }
            Runner(File(folder, "none.tflite"), engines).use { runner ->
                assertFails<IllegalArgumentException>("none.tflite has no gains input") {
                    runner.classify(picture, FloatArray(7))
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
        check("a file of something else is refused") {
            assertFails<IllegalArgumentException>("picture0.png", "is no .tflite file") {
                Runner(File(folder, "picture0.png"), engines)
            }
        }
        check("0 threads and unknown signatures are refused") {
            assertFails<IllegalArgumentException>("threads") { Runner(small, engines, 0) }
            assertFails<IllegalArgumentException>("one signature only", "'pets'") {
                Runner(small, engines, signature = "pets")
            }
        }
        check("a truncated file is refused, wherever it ends") {
            val cut = File(copied("gains.tflite"), "gains.tflite")
            RandomAccessFile(cut, "rw").use { file ->
                val steps = (0L until 4096) + (4096L until file.length() step 997)
                for (length in steps.reversed()) {
                    file.setLength(length)
                    assertFails<IllegalArgumentException>("gains.tflite' is") { readTflite(cut) }
                }
            }
        }
        check("a file with damaged bytes is read or refused, never anything else") {
            val content = small.readBytes()
            val damaged = File(temporary(), "damaged.tflite")
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
            val copy = copied("gains.tflite")
            File(copy, "gains.labels.txt").writeText("one\ntwo\n")
            assertFails<IllegalArgumentException>("gains.labels.txt", "2 labels", "5 outputs") {
                Runner(File(copy, "gains.tflite"), engines)
            }
        }
    }

    private fun testSignatures(pictures: List<Picture>) {
        val file = File(folder, "signatures.tflite")
        check("every signature gives the scores of its own cutout") {
            Runner(file, engines).use { assertEquals(listOf("pets", "all"), it.signatures) }
            for ((signature, alone) in listOf("pets" to "pets.tflite", "all" to "nested.tflite")) {
                val one = Runner(File(folder, alone), engines)
                Runner(file, engines, signature = signature).use { runner ->
                    assertEquals(signature, runner.signature)
                    assertEquals(one.labels, runner.labels)
                    for (picture in pictures) {
                        val wanted = one.classify(picture).scores.map { it.toDouble() }
                        assertClose(wanted, runner.classify(picture).scores, 0.0)
                    }
                }
                one.close()
            }
            assertFails<IllegalArgumentException>("no signature 'cars'", "pets, all") {
                Runner(file, engines, signature = "cars")
            }
        }
    }

    private fun testPack(case: JsonObject, pictures: List<Picture>) {
        val name = case.text("folder")
        for (choice in case.objects("choices")) {
            val chosen = choice["choice"]?.let { choice.texts("choice") }
            check("$name gives Python's scores for $chosen") {
                PackRunner(File(folder, name), engines, chosen).use { runner ->
                    assertEquals(choice.texts("categories"), runner.categories, "categories")
                    assertEquals(choice.texts("loaded"), runner.loaded.sorted(), "files")
                    pictures.forEachIndexed { i, picture ->
                        val answer = runner.classify(picture)
                        assertClose(choice.rows("scores")[i], answer.scores, CLOSE)
                        note(name, choice.rows("scores")[i], answer.scores)
                        assertEquals(choice.flags("none")?.get(i), answer.none, "none of these")
                        assertEquals(runner.categories, answer.labels)
                    }
                }
            }
        }
    }

    private fun testClassifier(pictures: List<Picture>) {
        check("a folder with a pack or with a file is one thing to an app") {
            Classifier(File(folder, "int8.pack"), engines).use { model ->
                assertEquals(listOf("tench", "church", "parachute", "golf ball"), model.choices)
                assertEquals(emptyList<String>(), model.gains)
                assertEquals(96, model.side)
                model.choose(listOf("church", "tench"))
                assertEquals(listOf("church", "tench"), model.classify(pictures[0]).labels)
            }
            Classifier(copied("gains.tflite"), engines).use { model ->
                assertEquals(listOf("cat", "dog", "car", "ferry", "tug"), model.choices)
                assertEquals(7, model.gains.size)
                assertEquals(null, model.maxGain)
                val none = model.classify(pictures[0], FloatArray(7)).scores.toList()
                val neutral = model.classify(pictures[0], FloatArray(7) { 1f }).scores.toList()
                assertEquals(neutral, model.classify(pictures[0]).scores.toList())
                check(none != neutral) { "gains change nothing" }
                model.choose(listOf("tug", "cat"))
                val two = model.classify(pictures[0])
                assertEquals(listOf("tug", "cat"), two.labels)
                val pack = PackRunner(File(folder, "nested.pack"), engines, two.labels)
                val wanted = pack.use { it.classify(pictures[0]).scores }.map { it.toDouble() }
                assertClose(wanted, two.scores, CLOSE)
                assertFails<IllegalArgumentException>("Unknown category 'bus'. Valid: cat, dog") {
                    model.choose(listOf("bus"))
                }
            }
            assertFails<FileNotFoundException>("no one .tflite file") {
                Classifier(temporary(), engines)
            }
        }
    }

    private fun testChoosing(picture: Picture) {
        check("a choice loads what it needs and drops the rest") {
            val loaded = engines.open
            PackRunner(File(folder, "nested.pack"), engines, listOf("cat")).use { runner ->
                val cat = listOf("branch_pets.tflite", "branch_cat.tflite")
                val ferry = listOf("branch_ships.tflite", "branch_ferry.tflite")
                assertEquals(listOf("trunk.tflite") + cat, runner.loaded)
                val alone = runner.classify(picture)
                assertEquals(1f, alone.scores[0])
                runner.choose(listOf("ferry", "cat"))
                val both = runner.classify(picture)
                assertEquals((listOf("trunk.tflite") + cat + ferry).toSet(), runner.loaded.toSet())
                runner.choose(listOf("ferry"))
                assertEquals(listOf("trunk.tflite") + ferry, runner.loaded)
                assertEquals(loaded + 3, engines.open)
                runner.choose(listOf("ferry", "cat"))
                assertEquals(both.scores.toList(), runner.classify(picture).scores.toList())
            }
        }
        check("an unknown or repeated category, or none, changes nothing") {
            PackRunner(File(folder, "nested.pack"), engines, listOf("cat")).use { runner ->
                val before = runner.loaded
                for ((names, part) in listOf(
                    listOf("dog", "bus") to "Unknown category or superclass 'bus'. Valid: pets,",
                    listOf("cat", "pets") to "'cat' is chosen twice (last by 'pets')",
                    emptyList<String>() to "Choose at least one category",
                )) {
                    assertFails<IllegalArgumentException>(part) { runner.choose(names) }
                }
                assertEquals(before, runner.loaded)
                assertEquals(listOf("cat"), runner.categories)
            }
        }
        check("files of categories that nobody chooses may be missing") {
            val pack = copied("nested.pack")
            File(pack, "branch_dog.tflite").delete()
            File(pack, "branch_ships.tflite").delete()
            PackRunner(pack, engines, listOf("cat", "car")).use { runner ->
                assertEquals(listOf("cat", "car"), runner.present())
                val before = runner.loaded
                assertFails<FileNotFoundException>("no file 'branch_dog.tflite'") {
                    runner.choose(listOf("pets"))
                }
                assertEquals(before, runner.loaded)
                add("branch_dog.tflite", "nested.pack", pack)
                runner.choose(listOf("pets"))
                assertEquals(listOf("cat", "dog"), runner.classify(picture).labels)
            }
        }
    }

    private fun testReloading(picture: Picture) {
        check("branches come and go with the manifest, and the trunk stays loaded") {
            val pack = copied("reduced.pack")
            PackRunner(pack, engines).use { runner ->
                assertEquals(3, runner.categories.size)
                add("branch_church.tflite", "int8.pack", pack)
                add(Manifest.FILE, "int8.pack", pack)
                runner.reload()
                val grown = runner.classify(picture).scores.toList()
                PackRunner(File(folder, "int8.pack"), engines).use {
                    assertEquals(it.categories, runner.categories)
                    assertEquals(it.classify(picture).scores.toList(), grown)
                }
                runner.choose(listOf("church"))
                add(Manifest.FILE, "reduced.pack", pack)
                assertFails<IllegalArgumentException>("'church'") { runner.reload() }
                assertEquals(listOf("church"), runner.classify(picture).labels)
                runner.choose(null)
                runner.reload()
                assertEquals(3, runner.classify(picture).scores.size)
            }
        }
        check("another trunk is refused") {
            val pack = copied("nested.pack")
            PackRunner(pack, engines).use { runner ->
                File(folder, "other.pack").copyRecursively(pack, overwrite = true)
                assertFails<IllegalArgumentException>("has another trunk now") { runner.reload() }
            }
        }
    }

    private fun testRefusedPacks() {
        check("a wrong hash is refused with the file's name") {
            val pack = copied("nested.pack")
            flip(File(pack, "branch_dog.tflite"))
            PackRunner(pack, engines, listOf("cat")).close()
            assertFails<IllegalArgumentException>("branch_dog.tflite", "has the SHA-256") {
                PackRunner(pack, engines)
            }
            flip(File(pack, "trunk.tflite"))
            assertFails<IllegalArgumentException>("trunk.tflite", "has the SHA-256") {
                PackRunner(pack, engines, listOf("cat"))
            }
        }
        check("a truncated file is refused with its name") {
            val pack = copied("int8.pack")
            val branch = File(pack, "branch_church.tflite")
            RandomAccessFile(branch, "rw").use { it.setLength(branch.length() / 2) }
            assertFails<IllegalArgumentException>("branch_church.tflite", "it is truncated") {
                PackRunner(pack, engines)
            }
        }
        check("a missing file is refused with its name") {
            val pack = copied("int8.pack")
            File(pack, "branch_church.tflite").delete()
            assertFails<FileNotFoundException>("no file 'branch_church.tflite'") {
                PackRunner(pack, engines)
            }
            File(pack, "trunk.tflite").delete()
            assertFails<FileNotFoundException>("no file 'trunk.tflite'") {
                PackRunner(pack, engines, listOf("tench"))
            }
        }
        check("a branch of another trunk is refused with its name") {
            val pack = copied("nested.pack")
            val other = File(folder, "other.pack")
            add("branch_car.tflite", "other.pack", pack)
            assertFails<IllegalArgumentException>("branch_car.tflite") { PackRunner(pack, engines) }
            // And where its entry in the manifest comes with it.
            val entry = "\"branch_car.tflite\""
            val lines = File(other, Manifest.FILE).readLines()
            val at = lines.indexOfFirst { entry in it }
            edit(pack) { text ->
                val own = text.lines()
                val from = own.indexOfFirst { entry in it }
                (own.take(from) + lines.subList(at, at + 5) + own.drop(from + 5)).joinToString("\n")
            }
            assertFails<IllegalArgumentException>(
                "'branch_car.tflite' (car) was calibrated for another trunk",
            ) { PackRunner(pack, engines) }
        }
        check("a branch that says another trunk than the manifest is refused") {
            val pack = copied("nested.pack")
            val trunk = Manifest.read(pack).trunk
            add("trunk.tflite", "other.pack", pack)
            val other = Manifest.read(File(folder, "other.pack")).trunk
            edit(pack) {
                it.replace(trunk.sha256, other.sha256).replace("${trunk.bytes}", "${other.bytes}")
            }
            assertFails<IllegalArgumentException>("branch_pets.tflite", "was calibrated for") {
                PackRunner(pack, engines, listOf("cat"))
            }
        }
        check("a damaged manifest is refused") {
            for ((old, new, part) in listOf(
                Triple("\"version\": 1", "\"version\": 2", "format version 2.0"),
                Triple("keras_seqpar branch pack", "a cake", "is no manifest of a branch pack"),
                Triple("\"softmax\"", "\"relu\"", "nothing here applies the activation 'relu'"),
                Triple("\"trunk.tflite\"", "\"../trunk.tflite\"", "should be called"),
                Triple("\"bytes\"", "\"octets\"", "is damaged (there is no bytes)"),
                Triple("\"dtype\": \"int8\"", "\"dtype\": \"int4\"", "'trunk.tflite' gives int4"),
                Triple("\"tree\": [", "\"tree\": [[],", "is damaged (tree must be a list of obj"),
                Triple("}", "", "is truncated or damaged (no JSON"),
            )) {
                val pack = copied("int8.pack")
                edit(pack) { it.replaceFirst(old, new) }
                assertFails<IllegalArgumentException>(Manifest.FILE, part) {
                    PackRunner(pack, engines)
                }
            }
            assertFails<FileNotFoundException>("no file 'manifest.json'") {
                PackRunner(temporary(), engines)
            }
            assertFails<FileNotFoundException>("no such folder") {
                PackRunner(File("gone.pack"), engines)
            }
        }
    }

    private fun edit(pack: File, change: (String) -> String) {
        val file = File(pack, Manifest.FILE)
        val before = file.readText()
        val after = change(before)
        check(before != after) { "nothing to change" }
        file.writeText(after)
    }

    /** Copies a file of a pack into another. */
    private fun add(name: String, from: String, pack: File) {
        File(folder, "$from/$name").copyTo(File(pack, name), overwrite = true)
    }

    private fun flip(file: File) = RandomAccessFile(file, "rw").use {
        it.seek(file.length() / 2)
        val byte = it.read()
        it.seek(file.length() / 2)
        it.write(byte xor 1)
    }

    /** A copy of a pack, or a folder with a copy of a file. */
    private fun copied(name: String): File {
        val from = File(folder, name)
        val copy = temporary()
        from.copyRecursively(if (from.isDirectory) copy else File(copy, name), overwrite = true)
        return copy
    }
}

private fun testJson() {
    check("JSON is read as Python writes it") {
        val text = """ {"a": [1, -2.5e-3, "é\u00e9\n\"", true, null, {}], "b": {"c": []}} """
        val read = parseJson(text) as JsonObject
        val wanted = listOf(1.0, -0.0025, "éé\n\"", true, null)
        assertEquals(wanted, read.list("a").dropLast(1))
        assertEquals(emptyList<Any?>(), read.child("b").list("c"))
        assertEquals(setOf("a", "b"), read.keys)
        assertEquals(1.17549435e-38, parseJson("1.17549435e-38"))
    }
    check("what is no JSON is refused") {
        val broken = listOf(
            "", "{", "[1,]", "{\"a\" 1}", "[1 2]", "tru", "01", "1.", "\"a", "\"\\x\"", "nan",
            "\"\\u12\"", "[]]", "{\"a\": }", "{a: 1}", "[".repeat(5000), "\"a\nb\"", "+1", "'a'",
        )
        for (text in broken) assertFails<IllegalArgumentException>("no JSON") { parseJson(text) }
    }
    check("entries of another type are refused with their name") {
        val read = parseJson("""{"a": "text", "b": 1.5, "c": null}""") as JsonObject
        assertFails<IllegalArgumentException>("a must be a number, got text") { read.number("a") }
        assertFails<IllegalArgumentException>("b must be a whole number") { read.whole("b") }
        assertFails<IllegalArgumentException>("c must be a list, got null") { read.list("c") }
        assertFails<IllegalArgumentException>("there is no d") { read.textOrNull("d") }
        assertEquals(null, read.textOrNull("c"))
    }
}

/** What needs no LiteRT: an engine that says what it was made to say. */
private fun testFakes() {
    class Fake(override val inputs: List<Port>, override val outputs: List<Port>) : Engine {
        var closed = false

        override fun run(inputs: List<ByteBuffer>) = outputs.map { it.tensor.buffer() }

        override fun close() {
            closed = true
        }
    }

    fun port(name: String, vararg shape: Int, dtype: String = "float32") =
        Port(name, Tensor(shape.toList(), dtype, 0.0, 0))
    val picture = port("image", 1, 8, 8, 3)
    val contents = Contents(JsonObject(emptyMap()), null, emptyMap(), emptyMap())
    check("files that are no network for one picture are refused and closed") {
        val scores = port("scores", 1, 5)
        for ((inputs, outputs) in listOf(
            listOf(port("image", 4, 8, 8, 3)) to listOf(scores),
            listOf(port("image", 1, 8, 8)) to listOf(scores),
            listOf(picture) to listOf(scores, scores),
            listOf(picture, picture, picture) to listOf(scores),
            emptyList<Port>() to listOf(scores),
            listOf(port("image", 1, 8, 8, 3, dtype = "int32")) to listOf(scores),
        )) {
            assertFails<IllegalArgumentException>("'some.tflite' ", "Wanted: ") {
                Loaded(File("some.tflite"), contents, Fake(inputs, outputs))
            }
        }
    }
    check("a file that does not say how pictures are normalised takes values only") {
        val loaded = Loaded(File("some.tflite"), contents, Fake(listOf(picture), listOf(picture)))
        loaded.set(FloatArray(192))
        assertFails<IllegalArgumentException>("some.tflite does not say how") {
            loaded.set(Picture(1, 1, IntArray(1)))
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
    check("scores of no softmax") {
        assertEquals(listOf(0.5f, 1f), activate(floatArrayOf(0f, 100f), "sigmoid").toList())
        assertEquals(listOf(3f, -1f), activate(floatArrayOf(3f, -1f), "linear").toList())
        assertEquals(listOf(3f, -1f), activate(floatArrayOf(3f, -1f), null).toList())
        assertEquals(listOf(1f, 0f), activate(floatArrayOf(1000f, -1000f), "softmax").toList())
    }
}

private fun testPictures(folder: File, cases: JsonObject) {
    for (name in cases.texts("pictures")) {
        check("the square of $name is Python's, bit for bit") {
            val wanted = File(folder, name.replace(".png", ".rgb")).readBytes()
            val square = read(File(folder, name)).square(cases.whole("size").toInt())
            assertEquals(wanted.size, square.size)
            val differing = wanted.indices.count { wanted[it] != square[it] }
            assertEquals(0, differing, "differing bytes")
        }
    }
    check("a decoder shrinks no further than Pillow lets it") {
        val sizes = listOf(96 to 1, 191 to 1, 192 to 2, 400 to 4, 4000 to 8)
        for ((side, wanted) in sizes) assertEquals(wanted, Picture.sampleSize(side, side + 9, 96))
    }
    check("pixels of another number are refused") {
        assertFails<IllegalArgumentException>("2 x 3 needs 6 pixels, got 5") {
            Picture(2, 3, IntArray(5))
        }
        assertFails<IllegalArgumentException>("got 0") { Picture(1, 1, IntArray(1)).square(0) }
    }
}

private fun read(file: File): Picture {
    val image = ImageIO.read(file)
    val (width, height) = Pair(image.width, image.height)
    return Picture(width, height, image.getRGB(0, 0, width, height, null, 0, width))
}

private val temporaries = Files.createTempDirectory("seqpar").toFile()

private fun temporary(): File = Files.createTempDirectory(temporaries.toPath(), "").toFile()

private fun JsonObject.objects(key: String) = list(key).map { it as JsonObject }

private fun JsonObject.rows(key: String) =
    list(key).map { row -> (row as List<*>).map { it as Double } }

private fun JsonObject.flags(key: String) = (this[key] as List<*>?)?.map { it as Boolean }

private fun JsonObject.floatsOrNull(key: String) =
    this[key]?.let { numbers(key).map { gain -> gain.toFloat() }.toFloatArray() }

private const val CLOSE = 1e-5
private const val STEP = 1.0 / 256
