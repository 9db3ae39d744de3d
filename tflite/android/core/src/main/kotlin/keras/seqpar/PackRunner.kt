package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer

/**
 * Runs a branch pack: the trunk once per image, then the branches of the chosen categories.
 *
 * The scores are the activation (softmax) over the logits of the chosen categories, as for a
 * cutout. Files are verified and loaded when they are first needed, so files of other categories
 * may be missing. Counterpart of keras_seqpar.mobile.PackRunner. Not thread-safe.
 *
 *     PackRunner(File("animals.pack"), engines, listOf("cat", "dog")).use { runner ->
 *         val best = runner.classify(image).top(1)
 *         runner.choose(listOf("dog", "bus")) // loads bus, drops cat
 *     }
 *
 * @param folder the folder of the pack.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param categories labels or node ids, in the order of the scores; a superclass means all of its
 *   categories. All by default. Their files are loaded at once.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException there is no pack, or a file of it is missing.
 * @throws IllegalArgumentException a file is truncated, has another hash or belongs to another
 *   trunk; or a category is unknown or repeated.
 */
class PackRunner(
    val folder: File,
    private val engines: Engines,
    categories: List<String>? = null,
    private val threads: Int = 1,
) : AutoCloseable {
    var manifest: Manifest = Manifest.read(folder)
        private set
    private var names: List<String>? = categories
    private var hierarchy: Hierarchy = pruned(categories)
    private val trunk = load(manifest.trunk)
    private val branches = LinkedHashMap<String, LoadedFile>() // by SHA-256

    init {
        trunk.closeOnError { loadAll(hierarchy) }
    }

    /** `(1, height, width, channels)`. */
    val inputShape: List<Int> get() = trunk.image.shape

    /** Labels of the categories that are scored. */
    val categories: List<String> get() = hierarchy.categories

    /** Names of the files that are loaded. */
    val loaded: List<String> get() = listOf(trunk.file.name) + branches.values.map { it.file.name }

    /** Labels of the categories whose files are in the folder; only the sizes are checked. */
    fun present(): List<String> {
        val missing = manifest.branches.filterValues { part ->
            File(folder, part.file).length() != part.bytes
        }.keys

        fun below(node: Node): List<Node> = when {
            node.id in missing -> emptyList()
            node.isCategory -> listOf(node)
            else -> node.children.flatMap(::below)
        }
        val found = manifest.hierarchy.roots.flatMap(::below).map { it.id }.toSet()
        val all = manifest.hierarchy
        return all.categoryIds.zip(all.categories).filter { it.first in found }
            .map { it.second }
    }

    /**
     * Chooses the categories that are scored: loads the files they need and closes the others.
     *
     * @param categories as for the constructor.
     * If this fails, the chosen categories do not change.
     *
     * @throws FileNotFoundException a file is missing.
     * @throws IllegalArgumentException as for the constructor.
     */
    fun choose(categories: List<String>?) {
        val wanted = pruned(categories)
        loadAll(wanted)
        names = categories
        hierarchy = wanted
        closeUnneeded()
    }

    /**
     * Reads the manifest again, after branches were added or removed.
     *
     * The trunk stays loaded, and so does every branch whose file is the same.
     *
     * @throws FileNotFoundException the manifest or a file of a chosen category is missing.
     * @throws IllegalArgumentException the manifest is damaged, belongs to another trunk, or lacks
     *   a chosen category: choose others first.
     */
    fun reload() {
        val before = manifest
        val now = Manifest.read(folder)
        require(now.trunk.copy(file = before.trunk.file) == before.trunk) { // names may change
            "The branch pack '$folder' has another trunk now. Make a new PackRunner."
        }
        manifest = now
        try {
            choose(names)
        } catch (error: Exception) {
            manifest = before
            throw error
        }
    }

    /** Scores an image of any size. The square in its middle is resized and normalized. */
    fun classify(image: Image): Answer {
        trunk.set(image)
        return answer(logits())
    }

    /**
     * Scores input values.
     *
     * @param values the values of one image, in the range of the Keras network's input.
     * @throws IllegalArgumentException the number of values is wrong.
     */
    fun run(values: FloatArray): Answer {
        trunk.set(values)
        return answer(logits())
    }

    override fun close() {
        trunk.close()
        branches.values.forEach { it.close() }
        branches.clear()
    }

    private fun answer(logits: FloatArray): Answer {
        val complete = logits.size == manifest.hierarchy.categoryIds.size
        val none = manifest.threshold?.takeIf { complete }?.rejects(logits)
        return Answer(hierarchy.categories, activate(logits, manifest.activation), none)
    }

    private fun logits(): FloatArray {
        val found = HashMap<String, Float>()

        fun run(node: Node, features: ByteBuffer) {
            val branch = branches.getValue(manifest.branches.getValue(node.id).sha256)
            branch.run(features)
            if (node.isCategory) found[node.id] = branch.scores[0]
            node.children.forEach { run(it, branch.features) }
        }
        trunk.run()
        hierarchy.roots.forEach { run(it, trunk.features) }
        return FloatArray(found.size) { found.getValue(hierarchy.categoryIds[it]) }
    }

    private fun pruned(categories: List<String>?): Hierarchy =
        if (categories == null) manifest.hierarchy else manifest.hierarchy.prune(categories)

    /** Loads the branches of all nodes; if one fails, none is loaded. */
    private fun loadAll(hierarchy: Hierarchy) {
        val new = LinkedHashMap<String, LoadedFile>()
        try {
            for (node in hierarchy.nodes) {
                val part = manifest.branches.getValue(node.id)
                if (part.sha256 !in branches && part.sha256 !in new) new[part.sha256] = load(part)
            }
        } catch (error: Exception) {
            new.values.forEach { it.close() }
            throw error
        }
        branches.putAll(new)
    }

    private fun closeUnneeded() {
        val needed = hierarchy.nodes.map { manifest.branches.getValue(it.id).sha256 }.toSet()
        branches.filterKeys { it !in needed }.forEach { (hash, branch) ->
            branch.close()
            branches.remove(hash)
        }
    }

    private fun load(part: PackFile): LoadedFile {
        part.check(folder)
        val file = File(folder, part.file)
        return load(file, engines, threads).closeOnError { loaded ->
            val takes = loaded.contents.about["takes"]
            require(
                loaded.image == part.input && loaded.output == part.output && takes == part.takes,
            ) {
                "'$file' takes ${loaded.image}, gives ${loaded.output} and was calibrated for " +
                    "$takes, but the manifest says ${part.input}, ${part.output} and " +
                    "${part.takes}. Copy the manifest again, together with the file."
            }
            loaded
        }
    }
}
