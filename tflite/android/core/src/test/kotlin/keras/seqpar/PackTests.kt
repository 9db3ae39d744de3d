package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.io.RandomAccessFile
import keras.seqpar.Checks.check

/** Tests branch packs. */
class PackTests(private val python: PythonCases, private val engines: LiteRtLibrary) {
    private val folder = python.folder
    private val images = python.images

    fun run() {
        for (pack in python.cases.objects("packs")) testPack(pack)
        testChoosing(images[0])
        testReloading(images[0])
        testRefusedPacks()
    }

    private fun testPack(case: JsonObject) {
        val name = case.text("folder")
        for (choice in case.objects("choices")) {
            val categories = choice["choice"]?.let { choice.texts("choice") }
            check("$name gives Python's scores for $categories") {
                PackRunner(File(folder, name), engines, categories).use { runner ->
                    assertEquals(choice.texts("categories"), runner.categories, "categories")
                    assertEquals(choice.texts("loaded"), runner.loaded.sorted(), "files")
                    images.forEachIndexed { i, image ->
                        val answer = runner.classify(image)
                        python.compare(name, choice.rows("scores")[i], answer.scores, CLOSE)
                        assertEquals(choice.flags("none")?.get(i), answer.none, "none of these")
                        assertEquals(runner.categories, answer.labels)
                    }
                }
            }
        }
    }

    private fun testChoosing(image: Image) {
        check("choosing categories loads the files they need and closes the others") {
            val loaded = engines.open
            PackRunner(File(folder, "nested.pack"), engines, listOf("cat")).use { runner ->
                val cat = listOf("branch_pets.tflite", "branch_cat.tflite")
                val ferry = listOf("branch_ships.tflite", "branch_ferry.tflite")
                assertEquals(listOf("trunk.tflite") + cat, runner.loaded)
                val alone = runner.classify(image)
                assertEquals(1f, alone.scores[0])
                runner.choose(listOf("ferry", "cat"))
                val both = runner.classify(image)
                assertEquals((listOf("trunk.tflite") + cat + ferry).toSet(), runner.loaded.toSet())
                runner.choose(listOf("ferry"))
                assertEquals(listOf("trunk.tflite") + ferry, runner.loaded)
                assertEquals(loaded + 3, engines.open)
                runner.choose(listOf("ferry", "cat"))
                assertEquals(both.scores.toList(), runner.classify(image).scores.toList())
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
        check("files of categories that are not chosen may be missing") {
            val pack = python.copied("nested.pack")
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
                assertEquals(listOf("cat", "dog"), runner.classify(image).labels)
            }
        }
    }

    private fun testReloading(image: Image) {
        check("reload adds and removes branches, and the trunk stays loaded") {
            val pack = python.copied("reduced.pack")
            PackRunner(pack, engines).use { runner ->
                assertEquals(3, runner.categories.size)
                // The same trunk and branches, and one more, in files with names of earlier versions.
                File(folder, "int8.pack").list()!!.forEach { add(it, "int8.pack", pack) }
                runner.reload()
                val grown = runner.classify(image).scores.toList()
                PackRunner(File(folder, "int8.pack"), engines).use {
                    assertEquals(it.categories, runner.categories)
                    assertEquals(it.classify(image).scores.toList(), grown)
                }
                runner.choose(listOf("church"))
                add(Manifest.FILE, "reduced.pack", pack)
                assertFails<IllegalArgumentException>("'church'") { runner.reload() }
                assertEquals(listOf("church"), runner.classify(image).labels)
                runner.choose(null)
                runner.reload()
                assertEquals(3, runner.classify(image).scores.size)
            }
        }
        check("another trunk is refused") {
            val pack = python.copied("nested.pack")
            PackRunner(pack, engines).use { runner ->
                File(folder, "other.pack").copyRecursively(pack, overwrite = true)
                assertFails<IllegalArgumentException>("has another trunk now") { runner.reload() }
            }
        }
    }

    private fun testRefusedPacks() {
        check("a wrong hash is refused with the file's name") {
            val pack = python.copied("nested.pack")
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
            val pack = python.copied("int8.pack")
            val branch = File(pack, "branch_church.tflite")
            RandomAccessFile(branch, "rw").use { it.setLength(branch.length() / 2) }
            assertFails<IllegalArgumentException>("branch_church.tflite", "it is truncated") {
                PackRunner(pack, engines)
            }
        }
        check("a missing file is refused with its name") {
            val pack = python.copied("int8.pack")
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
            val pack = python.copied("nested.pack")
            val other = File(folder, "other.pack")
            add("branch_car.tflite", "other.pack", pack)
            assertFails<IllegalArgumentException>("branch_car.tflite") { PackRunner(pack, engines) }
            // Also if its entry in the manifest is copied too.
            val entry = "\"branch_car.tflite\""
            val lines = File(other, Manifest.FILE).readLines()
            val at = lines.indexOfFirst { entry in it }
            edit(pack) { text ->
                val old = text.lines()
                val from = old.indexOfFirst { entry in it }
                (old.take(from) + lines.subList(at, at + 5) + old.drop(from + 5)).joinToString("\n")
            }
            assertFails<IllegalArgumentException>(
                "'branch_car.tflite' (car) was calibrated for another trunk",
            ) { PackRunner(pack, engines) }
        }
        check("a branch whose trunk differs from the manifest's is refused") {
            val pack = python.copied("nested.pack")
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
                val pack = python.copied("int8.pack")
                edit(pack) { it.replaceFirst(old, new) }
                assertFails<IllegalArgumentException>(Manifest.FILE, part) {
                    PackRunner(pack, engines)
                }
            }
            assertFails<FileNotFoundException>("no file 'manifest.json'") {
                PackRunner(python.temporary(), engines)
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

    /** Copies a file from one pack into another. */
    private fun add(name: String, from: String, pack: File) {
        File(folder, "$from/$name").copyTo(File(pack, name), overwrite = true)
    }

    private fun flip(file: File) = RandomAccessFile(file, "rw").use {
        it.seek(file.length() / 2)
        val byte = it.read()
        it.seek(file.length() / 2)
        it.write(byte xor 1)
    }
}
