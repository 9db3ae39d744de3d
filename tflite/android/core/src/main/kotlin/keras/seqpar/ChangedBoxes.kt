package keras.seqpar

/** A part of a frame in pixels; [bottom] and [right] are exclusive. */
data class Box(val top: Int, val left: Int, val bottom: Int, val right: Int) {
    val height: Int get() = bottom - top
    val width: Int get() = right - left
    val area: Int get() = height * width

    /** The box with as many positions more on each side, as far as a map has them. */
    internal fun grown(by: Int, rows: Int, cols: Int) = Box(
        maxOf(top - by, 0), maxOf(left - by, 0), minOf(bottom + by, rows), minOf(right + by, cols),
    )

    /** What two boxes have in common; without height or width if there is nothing. */
    internal fun common(other: Box) = Box(
        maxOf(top, other.top), maxOf(left, other.left),
        minOf(bottom, other.bottom), minOf(right, other.right),
    )
}

internal fun ceilDiv(a: Int, b: Int): Int = -Math.floorDiv(-a, b)

/**
 * Covers all that is true in a map with a few boxes.
 *
 * Counterpart of keras_seqpar.selective.planning.boxes.
 *
 * @param changed one value per position, row by row.
 */
internal fun cover(changed: BooleanArray, width: Int): List<Box> {
    val boxes = ArrayList<Box>()
    split(changed, width, Box(0, 0, changed.size / width, width), SPLITS, boxes)
    if (boxes.size <= MOST_BOXES) return boxes
    return mergeByCost(boxes, MOST_BOXES) { it.area + 1.0 }
}

/**
 * Joins boxes where one is cheaper than two.
 *
 * @param most number of boxes that may remain; by default any.
 * @param cost of a box.
 */
internal fun mergeByCost(
    given: List<Box>,
    most: Int = Int.MAX_VALUE,
    cost: (Box) -> Double,
): List<Box> {
    val some = given.distinct()
    val boxes = some.filter { a -> some.none { it != a && it.union(a) == it } }.toMutableList()
    val costs = boxes.map(cost).toMutableList()
    while (boxes.size > 1) {
        val must = boxes.size > most
        var best = if (must) Double.POSITIVE_INFINITY else 0.0
        var pair: Triple<Int, Int, Box>? = null
        for (i in 1 until boxes.size) {
            for (j in 0 until i) {
                val one = boxes[i].union(boxes[j])
                val more = cost(one) - costs[i] - costs[j]
                if (more < best || (more == best && !must && pair == null && more <= 0)) {
                    best = more
                    pair = Triple(i, j, one)
                }
            }
        }
        val (i, j, one) = pair ?: break
        for (place in listOf(i, j)) { // i is the larger one
            boxes.removeAt(place)
            costs.removeAt(place)
        }
        boxes.add(one)
        costs.add(cost(one))
    }
    return boxes
}

/** The map of boxes, row by row. */
internal fun toMap(boxes: List<Box>, height: Int, width: Int): BooleanArray {
    val found = BooleanArray(height * width)
    for (box in boxes) {
        for (y in box.top until box.bottom) {
            found.fill(true, y * width + box.left, y * width + box.right)
        }
    }
    return found
}

private fun Box.union(other: Box) = Box(
    minOf(top, other.top), minOf(left, other.left),
    maxOf(bottom, other.bottom), maxOf(right, other.right),
)

/** Cuts a part of a map at its widest empty bands of rows or columns, again and again. */
private fun split(
    changed: BooleanArray,
    width: Int,
    part: Box,
    depth: Int,
    into: MutableList<Box>,
) {
    val rows = (part.top until part.bottom).filter { y ->
        (part.left until part.right).any { x -> changed[y * width + x] }
    }
    if (rows.isEmpty()) return
    val cols = (part.left until part.right).filter { x -> rows.any { y -> changed[y * width + x] } }
    val box = Box(rows.first(), cols.first(), rows.last() + 1, cols.last() + 1)
    val (row, emptyRows) = widestGap(rows)
    val (col, emptyCols) = widestGap(cols)
    val (down, across) = Pair(emptyRows * box.width, emptyCols * box.height) // what is left out
    if (depth == 0 || maxOf(down, across) <= LEAST_EMPTY) {
        into.add(box)
        return
    }
    val (first, second) = if (down >= across) {
        Pair(box.copy(bottom = row), box.copy(top = row))
    } else {
        Pair(box.copy(right = col), box.copy(left = col))
    }
    split(changed, width, first, depth - 1, into)
    split(changed, width, second, depth - 1, into)
}

/** The place after the widest gap between neighbors, and how wide it is. */
private fun widestGap(places: List<Int>): Pair<Int, Int> {
    var found = Pair(0, 0)
    for (i in 1 until places.size) {
        val gap = places[i] - places[i - 1] - 1
        if (gap > found.second) found = Pair(places[i], gap)
    }
    return found
}

private const val MOST_BOXES = 8 // for one frame; with more, runs spend their time on single boxes
private const val SPLITS = 6
private const val LEAST_EMPTY = 64 // positions; a smaller band is not worth a box of its own
