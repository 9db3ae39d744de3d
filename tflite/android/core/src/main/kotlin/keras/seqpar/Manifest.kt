package keras.seqpar

import java.io.File
import java.io.FileNotFoundException
import java.nio.charset.CharacterCodingException
import java.security.MessageDigest

/**
 * A file of a branch pack.
 *
 * @property file name of the file.
 * @property bytes size of the file.
 * @property sha256 SHA-256 of the file, hexadecimal.
 * @property takes [sha256] of the file whose output it was calibrated for; `null` for the trunk.
 * @property input shape, type and scale of its input.
 * @property output shape, type and scale of its output.
 */
data class PackFile(
    val file: String,
    val bytes: Long,
    val sha256: String,
    val takes: String?,
    val input: Tensor,
    val output: Tensor,
) {
    /**
     * Checks that the file in a folder is the one in the manifest.
     *
     * @throws FileNotFoundException the file is missing.
     * @throws IllegalArgumentException the file has another size or hash.
     */
    fun check(folder: File) {
        checkFile(folder, file, bytes, sha256, "branch pack") {
            "Copy it there, or choose categories that do not need it."
        }
    }
}

/**
 * The content of a pack's `manifest.json`, which keras_seqpar.mobile.pack writes.
 *
 * @property network name of the network that was packed.
 * @property activation the activation that turns logits into scores.
 * @property hierarchy the tree of the branches, with their labels.
 * @property threshold the threshold of "none of these" for the logits of all categories, or `null`.
 * @property trunk the file of the trunk.
 * @property branches node id -> the file of the branch.
 */
class Manifest internal constructor(
    val network: String,
    val activation: String?,
    val hierarchy: Hierarchy,
    internal val threshold: Threshold?,
    val trunk: PackFile,
    val branches: Map<String, PackFile>,
) {
    private fun check() {
        require(activation in ACTIVATIONS) { "nothing here applies the activation '$activation'" }
        val ids = hierarchy.nodes.map { it.id }.toSet()
        val unmatched = (ids + branches.keys) - (ids intersect branches.keys)
        require(unmatched.isEmpty()) {
            "hierarchy and branches differ in ${unmatched.joinToString()}"
        }
        checkName(trunk, "trunk.tflite")
        branches.forEach { (id, part) -> checkName(part, "branch_$id.tflite") }
        hierarchy.roots.forEach { checkFeeds(trunk, it) }
    }

    /** Names contain the hash, or not in packs of earlier versions. Rejects other folders as well. */
    private fun checkName(part: PackFile, name: String) {
        val hashed = "${name.removeSuffix(".tflite")}.${part.sha256.take(12)}.tflite"
        require(part.file == name || part.file == hashed) {
            "the file '${part.file}' should be called '$hashed'"
        }
    }

    private fun checkFeeds(feeder: PackFile, node: Node) {
        val part = branches.getValue(node.id)
        require(part.takes == feeder.sha256) {
            val kind = if (feeder === trunk) "trunk" else "superclass branch"
            "'${part.file}' (${node.label}) was calibrated for another $kind: it takes the " +
                "output of the file with the SHA-256 ${part.takes}, '${feeder.file}' has " +
                "${feeder.sha256}. Take the branch of a pack with this trunk, or make it with " +
                "keras_seqpar.mobile.add_branch"
        }
        require(part.input == feeder.output) {
            "'${part.file}' takes ${part.input}, but '${feeder.file}' gives ${feeder.output}"
        }
        node.children.forEach { checkFeeds(part, it) }
    }

    companion object {
        const val FILE = "manifest.json"
        private const val FORMAT = "keras_seqpar branch pack"
        private const val VERSION = 1.0
        private val ACTIVATIONS = listOf("softmax", "sigmoid", "linear", null)

        /**
         * Reads and checks the manifest of a pack. The other files are not checked.
         *
         * @throws FileNotFoundException there is no such folder, or no manifest in it.
         * @throws IllegalArgumentException the manifest is damaged or has another version, or a
         *   branch belongs to another trunk.
         */
        fun read(folder: File): Manifest {
            val path = File(folder, FILE)
            val config = readManifest(path, FORMAT, VERSION, "branch pack")
            val manifest = try {
                read(config)
            } catch (error: IllegalArgumentException) {
                throw IllegalArgumentException(
                    "'$path' is damaged (${error.message}). Copy it again.",
                    error,
                )
            }
            try {
                manifest.check()
            } catch (error: IllegalArgumentException) {
                throw IllegalArgumentException(
                    "'$path' does not fit together: ${error.message}.",
                    error,
                )
            }
            return manifest
        }

        private fun read(config: JsonObject): Manifest {
            val branches = config.child("branches")
            return Manifest(
                network = config.text("network"),
                activation = config.textOrNull("classifier_activation"),
                hierarchy = Hierarchy.read(config.child("hierarchy")),
                threshold = config.childOrNull("none_of_these")?.let(Threshold::read),
                trunk = part(config.child("trunk")),
                branches = branches.keys.associateWith { part(branches.child(it)) },
            )
        }

        private fun part(config: JsonObject) = PackFile(
            file = config.text("file"),
            bytes = config.integer("bytes"),
            sha256 = config.text("sha256").lowercase(),
            takes = config.textOrNull("takes"),
            input = tensor(config.child("input")),
            output = tensor(config.child("output")),
        )

        private fun tensor(config: JsonObject) = Tensor(
            shape = config.numbers("shape").map { it.toInt() },
            dtype = config.text("dtype"),
            scale = config.number("scale"),
            zeroPoint = config.integer("zero_point").toInt(),
        )
    }
}

/** Reads `manifest.json`; refuses one of another [format] or [version]. */
internal fun readManifest(path: File, format: String, version: Double, kind: String): JsonObject {
    val folder = path.parentFile
    if (!path.isFile) {
        val missing = if (folder.isDirectory) "no file '${path.name}' in it" else "no such folder"
        throw FileNotFoundException("'$folder' is no $kind: there is $missing.")
    }
    val config = try {
        parseJson(path.readBytes().strictText())
    } catch (error: Exception) {
        if (error !is IllegalArgumentException && error !is CharacterCodingException) throw error
        throw IllegalArgumentException(
            "'$path' is truncated or damaged (${error.message}). Copy it again.",
            error,
        )
    }
    require(config is JsonObject && config["format"] == format) {
        "'$path' is no manifest of a $kind."
    }
    require(config["version"] == version) {
        "'$path' has the format version ${config["version"]}; this app reads $version. Update " +
            "the app, or make the $kind again."
    }
    return config
}

/** Checks that the file in a folder is the one in the manifest, and returns its path. */
internal fun checkFile(
    folder: File,
    name: String,
    bytes: Long,
    sha256: String,
    kind: String,
    wayOn: () -> String,
): File {
    val path = File(folder, name)
    if (!path.isFile) {
        throw FileNotFoundException("The $kind '$folder' has no file '$name'. ${wayOn()}")
    }
    require(path.length() == bytes) {
        "'$path' has ${path.length()} bytes, but the manifest says $bytes: it is truncated or " +
            "another file. Copy it again, together with the manifest."
    }
    val found = sha256Of(path)
    require(found == sha256) {
        "'$path' has the SHA-256 $found, but the manifest says $sha256: it is damaged or of " +
            "another $kind. Copy it again, together with the manifest."
    }
    return path
}

private fun sha256Of(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    file.inputStream().use { stream ->
        val block = ByteArray(1 shl 16)
        while (true) {
            val count = stream.read(block)
            if (count < 0) break
            digest.update(block, 0, count)
        }
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}
