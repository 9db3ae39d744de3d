package keras.seqpar

/**
 * Finds boxes around the changed pixels, and joins boxes where that costs less.
 *
 * Counterpart of keras_seqpar.selective.regions.crops.
 *
 * @param changed one value per pixel, row by row, [width] values per row.
 * @param least the smallest number of changed pixels of a region.
 * @param price the cost of a box, at least its area.
 */
internal fun mergedBoxes(
    changed: BooleanArray,
    width: Int,
    least: Int,
    price: (Box) -> Double,
): List<Box> {
    var cell = CELL
    var boxes = findBoxes(changed, width, cell, least)
    while (boxes.size > MAX_BOXES) {
        cell *= 2
        boxes = findBoxes(changed, width, cell, least)
    }
    val known = HashMap<Box, Double>()
    return mergeByCost(boxes) { box -> known.getOrPut(box) { price(box) } }
}

/**
 * Finds boxes around connected groups of changed cells. Cells that touch at a corner are connected.
 * Each box is the bounding box of the changed pixels in its cells.
 */
internal fun findBoxes(changed: BooleanArray, width: Int, cell: Int, least: Int): List<Box> {
    val height = changed.size / width
    val across = ceilDiv(width, cell)
    val counts = IntArray(ceilDiv(height, cell) * across)
    for (i in changed.indices) {
        if (changed[i]) counts[i / width / cell * across + i % width / cell]++
    }
    val seen = BooleanArray(counts.size)
    val boxes = ArrayList<Box>()
    for (start in counts.indices) {
        if (counts[start] == 0 || seen[start]) continue
        val part = connected(start, counts, across, seen)
        if (part.sumOf { counts[it] } < least) continue
        val cells = Box(
            part.minOf { it / across } * cell,
            part.minOf { it % across } * cell,
            minOf(height, (part.maxOf { it / across } + 1) * cell),
            minOf(width, (part.maxOf { it % across } + 1) * cell),
        )
        boxes.add(boundingBox(changed, width, cells))
    }
    return boxes
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

/** The bounding box of the changed pixels in a box. */
private fun boundingBox(changed: BooleanArray, width: Int, box: Box): Box {
    val rows = (box.top until box.bottom).filter { y ->
        (box.left until box.right).any { changed[y * width + it] }
    }
    val cols = (box.left until box.right).filter { x ->
        (box.top until box.bottom).any { changed[it * width + x] }
    }
    return Box(rows.first(), cols.first(), rows.last() + 1, cols.last() + 1)
}

private const val CELL = 8 // pixels; changes in neighboring cells are one region
private const val MAX_BOXES = 48 // boxes; if there are more, larger cells join them first
