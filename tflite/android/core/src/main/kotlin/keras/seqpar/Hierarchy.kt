package keras.seqpar

/**
 * One node of a hierarchy: a category if it has no children, otherwise a superclass.
 *
 * @property id `[a-z][a-z0-9_]*`; part of the name of the branch's file.
 * @property label free text, shown to users.
 */
class Node(val id: String, val label: String, val children: List<Node>) {
    val isCategory: Boolean get() = children.isEmpty()

    /** This node and all below it, parents first. */
    fun walk(): List<Node> = listOf(this) + children.flatMap { it.walk() }
}

/**
 * The ordered tree of superclasses and categories. Counterpart of keras_seqpar.Hierarchy.
 *
 * @property roots the nodes directly under the trunk.
 * @property categoryIds ids of all leaves, in the order of the logits.
 */
class Hierarchy(val roots: List<Node>, val categoryIds: List<String>) {
    /** All nodes, parents first. */
    val nodes: List<Node> = roots.flatMap { it.walk() }
    private val byId = nodes.associateBy { it.id }

    /** Labels of the categories, in the order of the logits. */
    val categories: List<String> get() = categoryIds.map { byId.getValue(it).label }

    init {
        require(nodes.isNotEmpty()) { "a hierarchy needs at least one category" }
        nodes.forEach { require(ID.matches(it.id)) { "'${it.id}' is no node id" } }
        require(byId.size == nodes.size) { "two nodes have the same id" }
        val leaves = nodes.filter { it.isCategory }.map { it.id }
        require(categoryIds.sorted() == leaves.sorted()) {
            "the category order $categoryIds is no reordering of the leaves $leaves"
        }
    }

    /**
     * Finds a node.
     *
     * @param name an id or a label.
     * @throws IllegalArgumentException no node has this name, or it is the label of several nodes.
     */
    fun find(name: String): Node {
        val found = byId[name]?.let(::listOf) ?: nodes.filter { it.label == name }
        require(found.isNotEmpty()) {
            "Unknown category or superclass '$name'. Valid: ${nodes.joinToString { it.label }}."
        }
        require(found.size == 1) {
            "The label '$name' means several nodes. Choose an id: ${found.joinToString { it.id }}."
        }
        return found[0]
    }

    /**
     * The part of the tree that leads to some categories.
     *
     * @param names ids or labels, in the order of the scores; a superclass means all of its
     *   categories.
     * @throws IllegalArgumentException there are no names, a name is unknown, or a category is
     *   named twice.
     */
    fun prune(names: List<String>): Hierarchy {
        val kept = LinkedHashSet<String>()
        for (name in names) {
            val below = find(name).walk().map { it.id }.toSet()
            for (id in categoryIds.filter { it in below }) {
                require(kept.add(id)) {
                    "The category '${byId.getValue(id).label}' is chosen twice (last by " +
                        "'$name'). Name each category once."
                }
            }
        }
        require(kept.isNotEmpty()) {
            "Choose at least one category. Valid: ${categories.joinToString()}."
        }
        fun keep(node: Node): Node? {
            if (node.isCategory) return node.takeIf { it.id in kept }
            val children = node.children.mapNotNull(::keep)
            return if (children.isEmpty()) null else Node(node.id, node.label, children)
        }
        return Hierarchy(roots.mapNotNull(::keep), kept.toList())
    }

    internal companion object {
        private val ID = Regex("[a-z][a-z0-9_]*")

        fun read(config: JsonObject): Hierarchy =
            Hierarchy(config.list("tree").map(::node), config.texts("categories"))

        private fun node(item: Any?): Node {
            require(item is JsonObject) { "tree must be a list of objects, got $item" }
            val children = if ("children" in item.keys) item.list("children") else emptyList()
            return Node(item.text("id"), item.text("label"), children.map(::node))
        }
    }
}
