package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer

/**
 * A branch pack that is ready to run: the trunk once per image, then any of the branches.
 *
 * The scores are the activation (softmax) over the chosen categories' logits, as a cutout's. Files
 * are verified and loaded when they are needed first, so files of categories that nobody chooses
 * may be missing. As keras_seqpar.mobile.PackRunner. Not for several threads at once.
 *
 *     PackRunner(File("animals.pack"), engines, listOf("cat", "dog")).use { runner ->
 *         val best = runner.classify(image).top(1)
 *         runner.choose(listOf("dog", "bus")) // loads bus, drops cat
 *     }
 *
 * @param folder the pack.
 * @param engines loads files; on Android, `LiteRtEngines`.
 * @param categories labels or node ids, in the order wanted; a superclass stands for its
 *   categories. All by default. Their files are loaded at once.
 * @param threads number of CPU threads.
 * @throws FileNotFoundException no pack, or a file of it is missing.
 * @throws IllegalArgumentException a file is truncated, has another hash or belongs to another
 *   trunk; an unknown or repeated category.
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
    private var chosen: Hierarchy = pruned(categories)
    private val trunk = load(manifest.trunk)
    private val branches = LinkedHashMap<String, Loaded>() // by hash

    init {
        trunk.orClose { loadAll(chosen) }
    }

    /** `(1, height, width, channels)`. */
    val inputShape: List<Int> get() = trunk.image.shape

    /** Labels of the categories that are scored. */
    val categories: List<String> get() = chosen.categories

    /** Names of the files that are loaded. */
    val loaded: List<String> get() = listOf(trunk.file.name) + branches.values.map { it.file.name }

    /** Labels of the categories whose files lie in the folder; what is in them is not checked. */
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
        val hierarchy = manifest.hierarchy
        return hierarchy.categoryIds.zip(hierarchy.categories).filter { it.first in found }
            .map { it.second }
    }

    /**
     * Scores these categories from now on: loads what they need and closes what nothing needs.
     *
     * @param categories as for the constructor.
     * @throws FileNotFoundException a file is missing. The choice stays what it was.
     * @throws IllegalArgumentException as for the constructor. The choice stays what it was.
     */
    fun choose(categories: List<String>?) {
        val wanted = pruned(categories)
        loadAll(wanted)
        names = categories
        chosen = wanted
        closeUnneeded()
    }

    /**
     * Reads the manifest again: branches added since can be chosen, removed ones are dropped.
     *
     * The trunk stays loaded, and so does every branch whose file is the same.
     *
     * @throws FileNotFoundException the manifest is gone, or a file of a chosen category.
     * @throws IllegalArgumentException it is damaged, of a pack with another trunk, or lacks a
     *   chosen category: choose others first.
     */
    fun reload() {
        val before = manifest
        val now = Manifest.read(folder)
        require(now.trunk == before.trunk) {
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

    /** Scores an image of any size: its middle is resized and normalized first. */
    fun classify(image: Image): Answer {
        trunk.set(image)
        return answer(logits())
    }

    /**
     * Scores what the network takes.
     *
     * @param values of one image, in the range that the Keras network takes.
     * @throws IllegalArgumentException another number of values.
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
        val whole = logits.size == manifest.hierarchy.categoryIds.size
        val none = manifest.threshold?.takeIf { whole }?.rejects(logits)
        return Answer(chosen.categories, activate(logits, manifest.activation), none)
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
        chosen.roots.forEach { run(it, trunk.features) }
        return FloatArray(found.size) { found.getValue(chosen.categoryIds[it]) }
    }

    private fun pruned(categories: List<String>?): Hierarchy =
        if (categories == null) manifest.hierarchy else manifest.hierarchy.prune(categories)

    /** Loads the branches of all nodes, or, where one fails, none. */
    private fun loadAll(hierarchy: Hierarchy) {
        val new = LinkedHashMap<String, Loaded>()
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
        val needed = chosen.nodes.map { manifest.branches.getValue(it.id).sha256 }.toSet()
        branches.filterKeys { it !in needed }.forEach { (hash, branch) ->
            branch.close()
            branches.remove(hash)
        }
    }

    private fun load(part: Part): Loaded {
        part.check(folder)
        val file = File(folder, part.file)
        return load(file, engines, threads).orClose { loaded ->
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
