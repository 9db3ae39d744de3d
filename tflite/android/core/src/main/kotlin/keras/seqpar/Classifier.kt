package keras.seqpar

import java.io.File
import java.io.FileNotFoundException

/**
 * Classifies images with a branch pack or with a single .tflite file. Not thread-safe.
 *
 * @param folder a pack, or a folder with one .tflite file and optionally its label file.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException the folder has neither.
 * @throws IllegalArgumentException as for [PackRunner] and [Runner].
 */
class Classifier(folder: File, engines: Engines, threads: Int = 1) : AutoCloseable {
    private val pack: PackRunner?
    private val runner: Runner?

    init {
        val isPack = File(folder, Manifest.FILE).isFile
        pack = if (isPack) PackRunner(folder, engines, threads = threads) else null
        runner = if (isPack) null else Runner(onlyFile(folder), engines, threads)
    }

    private var selected: List<String>? = null // for a single file

    /** Labels of the categories that can be chosen; for a pack, those whose files are present. */
    val choices: List<String> get() = pack?.present() ?: runner!!.labels.orEmpty()

    /** Labels of the nodes of the gains input; empty if there is none. */
    val gains: List<String> get() = runner?.gainLabels.orEmpty()

    /** The largest gain that has an effect; `null` if gains are not limited. */
    val maxGain: Float? get() = runner?.maxGain

    /** Side of the square images that the network takes, in pixels. */
    val side: Int get() = (pack?.inputShape ?: runner!!.inputShape)[1]

    /**
     * Chooses the categories that are scored. A pack computes only these. A file computes all, and
     * its scores are reduced to these.
     *
     * If this fails, the chosen categories do not change.
     *
     * @throws FileNotFoundException a file of a pack is missing.
     * @throws IllegalArgumentException a category is unknown, or the list is empty.
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
        selected = categories.takeIf { it != choices }
    }

    /** Scores an image of any size. */
    fun classify(image: Image, gains: FloatArray? = null): Answer {
        if (pack != null) return pack.classify(image)
        val answer = runner!!.classify(image, gains)
        return selected?.let { answer.among(it, runner.isSoftmax) } ?: answer
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
