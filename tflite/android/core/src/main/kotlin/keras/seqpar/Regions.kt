package keras.seqpar

/**
 * A map without its small regions. Changes are of one region where they are in one cell or in two
 * cells that touch, also at a corner.
 *
 * Counterpart of `without_small` in keras_seqpar.selective.regions.
 *
 * @param changed one value per pixel, row by row, [width] values per row.
 * @param least the smallest number of changed pixels of a region.
 */
internal fun withoutSmall(changed: BooleanArray, width: Int, least: Int): BooleanArray {
    val across = ceilDiv(width, CELL)
    val counts = IntArray(ceilDiv(changed.size / width, CELL) * across)
    fun cell(i: Int) = i / width / CELL * across + i % width / CELL
    for (i in changed.indices) if (changed[i]) counts[cell(i)]++
    val seen = BooleanArray(counts.size)
    val kept = BooleanArray(counts.size)
    for (start in counts.indices) {
        if (counts[start] == 0 || seen[start]) continue
        val part = connected(start, counts, across, seen)
        if (part.sumOf { counts[it] } >= least) part.forEach { kept[it] = true }
    }
    return BooleanArray(changed.size) { changed[it] && kept[cell(it)] }
}

/** The changed cells that are connected with [start]; marks them as seen. */
private fun connected(start: Int, counts: IntArray, across: Int, seen: BooleanArray): List<Int> {
    val part = arrayListOf(start)
    seen[start] = true
    var next = 0
    while (next < part.size) {
        val (y, x) = part[next++].let { Pair(it / across, it % across) }
        for (row in maxOf(0, y - 1)..minOf(counts.size / across - 1, y + 1)) {
            for (col in maxOf(0, x - 1)..minOf(across - 1, x + 1)) {
                val cell = row * across + col
                if (counts[cell] > 0 && !seen[cell]) {
                    seen[cell] = true
                    part.add(cell)
                }
            }
        }
    }
    return part
}

private const val CELL = 8 // pixels
