package keras.seqpar

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import javax.imageio.ImageIO
import keras.seqpar.Checks.check
import kotlin.math.abs
import kotlin.system.exitProcess

/** Compares the core with Python. Arguments: FOLDER of make_cases.py, path of libLiteRt.so. */
fun main(arguments: Array<String>) {
    val python = PythonCases(File(arguments[0]))
    val engines = LiteRtLibrary(File(arguments[1]))
    testJson()
    testFakeEngines()
    testImages(python)
    FileTests(python, engines).run()
    PackTests(python, engines).run()
    StreamTests(python, engines).run()
    RegionTests(python, engines).run()
    check("every file that was loaded is closed") { assertEquals(0, engines.open) }
    python.temporaries.deleteRecursively()
    python.report()
    exitProcess(Checks.report())
}

/** The files and expected results that make_cases.py wrote. */
class PythonCases(val folder: File) {
    internal val cases = parseJson(File(folder, "cases.json").readText()) as JsonObject
    val names = cases.texts("images")
    val images = names.map { readImage(File(folder, it)) }
    val temporaries: File = Files.createTempDirectory("seqpar").toFile()
    private val largest = LinkedHashMap<String, Double>() // file -> largest difference of any score

    /** Checks that scores differ from Python's by at most [bound]. */
    fun compare(name: String, wanted: List<Double>, found: FloatArray, bound: Double) {
        assertClose(wanted, found, bound)
        largest.merge(name, wanted.indices.maxOf { abs(wanted[it] - found[it]) }, ::maxOf)
    }

    /** The frames of a stream's folder, as calls of a stream. */
    internal fun frames(case: JsonObject, stream: FrameStream): List<(FrameStream) -> Result> {
        val bytes = File(File(folder, case.text("folder")), "frames.bin").readBytes()
        val size = stream.frameShape.fold(1, Int::times)
        if (case["pixels"] == true) {
            return List(bytes.size / size) { i ->
                { it.run(bytes.copyOfRange(i * size, (i + 1) * size)) }
            }
        }
        val values = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return List(values.limit() / size) { i ->
            { it.run(FloatArray(size) { place -> values[i * size + place] }) }
        }
    }

    fun report() = largest.forEach { (name, most) ->
        println("%s: %.1e from Python".format(name, most))
    }

    fun temporary(): File = Files.createTempDirectory(temporaries.toPath(), "").toFile()

    /** A copy of a pack, or a folder with a copy of a file. */
    fun copied(name: String): File {
        val from = File(folder, name)
        val copy = temporary()
        from.copyRecursively(if (from.isDirectory) copy else File(copy, name), overwrite = true)
        return copy
    }
}

fun readImage(file: File): Image {
    val image = ImageIO.read(file)
    val (width, height) = Pair(image.width, image.height)
    return Image(width, height, image.getRGB(0, 0, width, height, null, 0, width))
}

internal fun JsonObject.objects(key: String) = list(key).map { it as JsonObject }

internal fun JsonObject.rows(key: String) =
    list(key).map { row -> (row as List<*>).map { it as Double } }

internal fun JsonObject.flags(key: String) = (this[key] as List<*>?)?.map { it as Boolean }

internal fun JsonObject.floatsOrNull(key: String) =
    this[key]?.let { numbers(key).map { gain -> gain.toFloat() }.toFloatArray() }

const val CLOSE = 1e-5
const val STEP = 1.0 / 256
