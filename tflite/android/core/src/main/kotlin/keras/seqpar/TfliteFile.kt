package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.charset.CharacterCodingException
import java.text.Normalizer
import java.util.zip.ZipException
import java.util.zip.ZipInputStream

/**
 * The metadata of a .tflite file.
 *
 * @property about the model description that keras_seqpar writes as JSON; empty for other files.
 * @property labels one label per score of the first signature, or `null`.
 * @property files name -> content of the files that the metadata lists.
 * @property signatures key of a signature -> its labels, or `null`; in the order of the graphs.
 */
internal class Contents(
    val about: JsonObject,
    val labels: List<String>?,
    val files: Map<String, ByteArray>,
    val signatures: Map<String, List<String>?>,
)

/**
 * Checks that a .tflite file is complete, and reads its metadata.
 *
 * The file is a flatbuffer (TensorFlow's schema.fbs). Its metadata is another flatbuffer (TFLite's
 * metadata_schema.fbs), and the files that the metadata lists follow as a zip archive. Every table
 * and vector that holds names, shapes, scales or weights is followed to its end, which must be
 * inside the file: otherwise old interpreters crash the whole process.
 *
 * @throws FileNotFoundException there is no such file.
 * @throws IllegalArgumentException the file is truncated, damaged or not a .tflite file.
 */
internal fun readTflite(file: File): Contents {
    if (!file.isFile) throw FileNotFoundException("There is no file '$file'.")
    val data = file.readBytes()
    require(data.size >= 8 && data.decodeToString(4, 8) == "TFL3") {
        "'$file' is no .tflite file. Make one with keras_seqpar.mobile.convert or " +
            "tflite/convert.py."
    }
    try {
        val flat = FlatBuffer(data)
        val metadata = walk(flat)
        val (names, labelFiles) =
            if (metadata.isEmpty()) {
                Pair(emptyList(), emptyList())
            } else {
                associated(FlatBuffer(metadata))
            }
        val files = if (names.isEmpty()) emptyMap() else unzip(data, names)
        val labels = labelFiles.map { name -> name?.let { lines(files.getValue(it)) } }
        return Contents(
            about(flat.content(flat.root, 3)),
            labels.firstOrNull(),
            files,
            signatures(flat).associate { (graph, key) -> key to labels.getOrNull(graph) },
        )
    } catch (error: Exception) {
        if (error !is IndexOutOfBoundsException && error !is ZipException &&
            error !is CharacterCodingException && error !is java.io.EOFException
        ) {
            throw error
        }
        throw IllegalArgumentException(
            "'$file' is truncated or damaged: it has ${data.size} bytes and refers to more. Copy " +
                "or convert it again.",
            error,
        )
    }
}

/**
 * Splits the content of a label file into lines, whichever way they end. A byte order mark, spaces
 * around labels and blank lines at the end are left out.
 */
internal fun lines(content: ByteArray): List<String> =
    content.strictText().replace("\uFEFF", "").replace("\r\n", "\n").replace("\r", "\n")
        .split("\n").map { Normalizer.normalize(it, Normalizer.Form.NFC).trim() }
        .dropLastWhile { it.isEmpty() }

internal fun ByteArray.strictText(): String = decodeToString(throwOnInvalidSequence = true)

/** Reads a flatbuffer. Access outside of it throws IndexOutOfBoundsException. */
private class FlatBuffer(val data: ByteArray) {
    private val bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN)
    val root: Int = unsigned(0)

    fun unsigned(at: Int): Int {
        val number = bytes.getInt(at)
        if (number < 0) throw IndexOutOfBoundsException() // beyond 2 GiB
        return number
    }

    fun byte(at: Int): Int = bytes.get(at).toInt()

    /** The position of a table's field, or `null` if the field has its default value. */
    fun slot(table: Int, index: Int): Int? {
        val vtable = table - bytes.getInt(table)
        if (4 + 2 * index >= short(vtable)) return null
        val offset = short(vtable + 4 + 2 * index)
        return if (offset == 0) null else table + offset
    }

    /** The position of the object that a table's field points to, or `null`. */
    fun field(table: Int, index: Int): Int? = slot(table, index)?.let { it + unsigned(it) }

    /** The first byte and the length of a vector; checks that it ends inside the buffer. */
    fun vector(table: Int, index: Int, width: Int): Pair<Int, Int> {
        val start = field(table, index) ?: return Pair(0, 0)
        val length = unsigned(start)
        if (start + 4L + width.toLong() * length > data.size) throw IndexOutOfBoundsException()
        return Pair(start + 4, length)
    }

    fun content(table: Int, index: Int): ByteArray {
        val (start, length) = vector(table, index, 1)
        return data.copyOfRange(start, start + length)
    }

    fun tables(table: Int, index: Int): List<Int> {
        val (start, length) = vector(table, index, 4)
        return List(length) { start + 4 * it }.map { it + unsigned(it) }
    }

    private fun short(at: Int): Int = bytes.getShort(at).toInt() and 0xffff
}

/** Follows all tables of a model and returns its metadata, which may be empty. */
private fun walk(flat: FlatBuffer): ByteArray {
    val model = flat.root
    for (code in flat.tables(model, 1)) flat.vector(code, 1, 1) // custom code
    for (graph in flat.tables(model, 2)) {
        for (tensor in flat.tables(graph, 0)) {
            flat.vector(tensor, 0, 4) // shape
            flat.vector(tensor, 3, 1) // name
            val scales = flat.field(tensor, 4) ?: continue
            listOf(4, 4, 4, 8).forEachIndexed { index, width ->
                flat.vector(scales, index, width) // min, max, scale, zero point
            }
        }
        for (operator in flat.tables(graph, 3)) {
            flat.vector(operator, 1, 4) // inputs
            flat.vector(operator, 2, 4) // outputs
            flat.field(operator, 4) // options
        }
    }
    val buffers = flat.tables(model, 4)
    for (buffer in buffers) flat.vector(buffer, 0, 1)
    for (entry in flat.tables(model, 6)) {
        val index = flat.slot(entry, 1)?.let(flat::unsigned) ?: 0
        val name = flat.content(entry, 0).decodeToString()
        if (name == "TFLITE_METADATA" && index < buffers.size) {
            return flat.content(buffers[index], 0)
        }
    }
    return ByteArray(0)
}

/** Graph index and key of every signature, in the order of the graphs. */
private fun signatures(flat: FlatBuffer): List<Pair<Int, String>> =
    flat.tables(flat.root, 7).map { signature ->
        val graph = flat.slot(signature, 4)?.let(flat::unsigned) ?: 0
        Pair(graph, flat.content(signature, 2).strictText())
    }.sortedBy { it.first }

/** Names of the files in the metadata, and per graph the label file of its first output. */
private fun associated(flat: FlatBuffer): Pair<List<String>, List<String?>> {
    val names = ArrayList<String>()
    val labels = ArrayList<String?>()

    fun files(table: Int, index: Int): List<Pair<String, Int>> =
        flat.tables(table, index).map { entry ->
            val kind = flat.slot(entry, 2)?.let(flat::byte) ?: 0
            Pair(flat.content(entry, 0).strictText(), kind)
        }

    files(flat.root, 6).mapTo(names) { it.first }
    for (graph in flat.tables(flat.root, 3)) {
        files(graph, 4).mapTo(names) { it.first }
        val outputs = flat.tables(graph, 3)
        for (tensor in flat.tables(graph, 2) + outputs) {
            files(tensor, 6).mapTo(names) { it.first }
        }
        val first = outputs.firstOrNull()?.let { files(it, 6) }.orEmpty()
        labels.add(first.firstOrNull { it.second == AXIS_LABELS }?.first?.ifEmpty { null })
    }
    return Pair(names.filter { it.isNotEmpty() }, labels)
}

/** Reads files from the zip archive at the end; Android's ZipFile accepts no data before one. */
private fun unzip(data: ByteArray, names: List<String>): Map<String, ByteArray> {
    val bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN)
    val end = (data.size - 22 downTo maxOf(0, data.size - 22 - 0xffff))
        .firstOrNull { bytes.getInt(it) == END_OF_ARCHIVE } ?: throw ZipException("no archive")
    val directory = bytes.getInt(end + 16)
    val first = bytes.getInt(directory + 42) // where the first file begins
    if (first < 0 || first > directory) throw IndexOutOfBoundsException()
    val found = HashMap<String, ByteArray>()
    ZipInputStream(data.inputStream(first, directory - first)).use { archive ->
        while (true) {
            val entry = archive.nextEntry ?: break
            found[entry.name] = archive.readBytes() // also checks the CRC
        }
    }
    return names.associateWith { found[it] ?: throw ZipException("no file $it") }
}

private fun about(description: ByteArray): JsonObject =
    try {
        parseJson(description.strictText()) as? JsonObject
    } catch (_: IllegalArgumentException) { // the description of other files is free text
        null
    } catch (_: CharacterCodingException) {
        null
    } ?: JsonObject(emptyMap())

private const val AXIS_LABELS = 2 // AssociatedFileType.TENSOR_AXIS_LABELS
private const val END_OF_ARCHIVE = 0x06054b50 // "PK\5\6"
