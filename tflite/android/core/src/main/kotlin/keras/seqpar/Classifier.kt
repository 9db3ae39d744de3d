package keras.seqpar

import java.io.File
import java.io.FileNotFoundException

/**
 * What an app has in a folder: a branch pack, or one .tflite file. Not for several threads at once.
 *
 * @param folder a pack, or a folder with one .tflite file, perhaps with its label file.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException there is neither.
 * @throws IllegalArgumentException as of [PackRunner] and [Runner].
 */
class Classifier(folder: File, engines: Engines, threads: Int = 1) : AutoCloseable {
    private val pack: PackRunner?
    private val runner: Runner?

    init {
        val isPack = File(folder, Manifest.FILE).isFile
        pack = if (isPack) PackRunner(folder, engines, threads = threads) else null
        runner = if (isPack) null else Runner(onlyFile(folder), engines, threads)
    }

    private var chosen: List<String>? = null // of a file

    /** Labels of the categories to choose among; of a pack, those whose files are there. */
    val choices: List<String> get() = pack?.present() ?: runner!!.labels.orEmpty()

    /** Labels of the nodes that take a gain; empty where none does. */
    val gains: List<String> get() = runner?.gainLabels.orEmpty()

    /** The largest gain that makes a difference; `null` where gains are not limited. */
    val maxGain: Float? get() = runner?.maxGain

    /** Side of the square images that the network takes, in pixels. */
    val side: Int get() = (pack?.inputShape ?: runner!!.inputShape)[1]

    /**
     * Scores only these categories from now on. A pack computes no others; a file does, and its
     * scores are taken among these.
     *
     * @throws FileNotFoundException a file of a pack is missing. The choice stays what it was.
     * @throws IllegalArgumentException an unknown category, or none. The choice stays what it was.
     */
    fun choose(categories: List<String>) {
        if (pack != null) {
            pack.choose(categories)
            return
        }
        for (name in categories) {
            require(name in choices) {
                "Unknown category '$name'. Valid: ${choices.joinToString()}."
            }
        }
        require(categories.isNotEmpty()) { "Choose at least one category." }
        chosen = categories.takeIf { it != choices }
    }

    /** Scores an image of any size. */
    fun classify(image: Image, gains: FloatArray? = null): Answer {
        if (pack != null) return pack.classify(image)
        val answer = runner!!.classify(image, gains)
        return chosen?.let { answer.among(it, runner.isSoftmax) } ?: answer
    }

    override fun close() {
        pack?.close()
        runner?.close()
    }

    private fun onlyFile(folder: File): File =
        folder.listFiles { file -> file.extension == "tflite" }.orEmpty().singleOrNull()
            ?: throw FileNotFoundException(
                "There is no branch pack in '$folder' and no one .tflite file.",
            )
}
