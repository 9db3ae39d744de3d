package keras.seqpar

/** A part of a frame in pixels; the last row and column are left out. */
data class Box(val top: Int, val left: Int, val bottom: Int, val right: Int) {
    val height: Int get() = bottom - top
    val width: Int get() = right - left
    val area: Int get() = height * width
}

/**
 * How outputs lie along the rows, or columns, of a frame: `Axis` of keras_seqpar.
 *
 * Output `i` reads no input before `i * scale - before` and none behind `i * scale + after`.
 *
 * @property size inputs.
 * @property outputs outputs.
 * @property stride crops must begin at a multiple of it.
 * @property numerator inputs per output, with [denominator].
 * @property denominator see [numerator].
 * @property before see above; in input positions.
 * @property after see above.
 */
internal data class Axis(
    val size: Int,
    val outputs: Int,
    val stride: Int,
    val numerator: Int,
    val denominator: Int,
    val before: Int,
    val after: Int,
) {
    /** The same with a receptive field that ends after so many pixels; as it is for `null`. */
    fun within(pixels: Int?): Axis {
        if (pixels == null) return this
        return copy(before = pixels, after = pixels + ceilDiv(numerator, denominator) - 1)
    }

    /** The outputs that read inputs from [first] to [last]. */
    fun affected(first: Int, last: Int): IntRange {
        val low = ceilDiv((first - after) * denominator, numerator)
        val high = Math.floorDiv((last + before) * denominator, numerator)
        return maxOf(low, 0)..minOf(high, outputs - 1)
    }

    /** The inputs that outputs read. */
    fun needed(outputs: IntRange): IntRange {
        val first = Math.floorDiv(outputs.first * numerator, denominator) - before
        val last = ceilDiv(outputs.last * numerator, denominator) + after
        return maxOf(first, 0)..minOf(last, size - 1)
    }

    /** The outputs that a crop of these inputs gives as the whole frame does. */
    fun known(start: Int, end: Int): IntRange {
        val low = if (start == 0) 0 else ceilDiv((start + before) * denominator, numerator)
        val high = Math.floorDiv((end - 1 - after) * denominator, numerator)
        return low..(if (end == size) outputs - 1 else high)
    }

    /** The output at which the outputs of a crop begin. */
    fun offset(start: Int): Int = start * denominator / numerator

    companion object {
        fun read(config: JsonObject): Axis {
            val (numerator, denominator) = config.numbers("scale").map { it.toInt() }
            fun whole(key: String) = config.whole(key).toInt()
            return Axis(
                whole("size"), whole("outputs"), whole("stride"), numerator, denominator,
                whole("before"), whole("after"),
            )
        }
    }
}

/**
 * What is computed together.
 *
 * @property changed what it is for.
 * @property box of the frame that goes through the network.
 */
internal class Crop(val changed: Box, val box: Box) {
    val signature: String get() = "crop_${box.height}x${box.width}"
}

/** A signature's crops: their size, and what one costs in pixels of a whole frame. */
internal class CropSize(val height: Int, val width: Int, var price: Double)

/**
 * Turns changes into crops of fixed sizes: `FixedPlanner` of keras_seqpar.
 *
 * @property rows with the context that crops are to have.
 * @property cols likewise.
 * @property reachRows with how far a change matters.
 * @property reachCols likewise.
 */
internal class CropPlanner(
    val rows: Axis,
    val cols: Axis,
    private val reachRows: Axis,
    private val reachCols: Axis,
    private val sizes: List<CropSize>,
) {
    private val framePrice = rows.size.toDouble() * cols.size

    /**
     * The crops for a change; `null` where a whole frame is better, or no crop is large enough.
     * Several may have one box, which is to be computed once.
     *
     * @param changed one per pixel, row by row.
     * @param least changed pixels that a region must have.
     * @param most share of a whole frame's cost that crops may have.
     */
    fun plan(changed: BooleanArray, least: Int, most: Double): List<Crop>? {
        val boxes = joined(changed, cols.size, least, ::price)
        val crops = boxes.flatMap { crops(it, thrifty = true) ?: return null }
        return crops.takeIf { cost(it) < most * framePrice }
    }

    /** What the crops of a changed box cost; a whole frame's price at most. */
    private fun price(box: Box): Double =
        crops(box)?.let { minOf(framePrice, cost(it)) } ?: framePrice

    private fun cost(crops: List<Crop>) =
        crops.once().sumOf { size(it.box.height, it.box.width).price }

    /**
     * The cheapest crop that holds a changed box, else those of its halves; none where no output
     * reads it, `null` where no crop is large enough.
     *
     * @param halvings how often the box may be halved.
     * @param thrifty halve it as well, twice at most, where that costs less.
     */
    fun crops(box: Box, halvings: Int = HALVINGS, thrifty: Boolean = false): List<Crop>? {
        val down = needed(rows, reachRows, box.top, box.bottom - 1)
        val across = needed(cols, reachCols, box.left, box.right - 1)
        if (down.isEmpty() || across.isEmpty()) return emptyList()
        val one = holding(box, down, across)?.let(::listOf)
        val further = when {
            one == null -> halvings
            !thrifty || cost(one) <= 2 * sizes.minOf { it.price } -> 0
            else -> minOf(halvings, 2)
        }
        val halves = if (further > 0) halves(box, down, across, further, thrifty) else null
        return if (one == null || (halves != null && cost(halves) < cost(one))) halves else one
    }

    /** The cheapest crop that holds these rows and columns. */
    private fun holding(box: Box, down: IntRange, across: IntRange): Crop? {
        val size = sizes.filter { it.height >= down.count() && it.width >= across.count() }
            .minWithOrNull(compareBy({ it.price }, { it.height }, { it.width })) ?: return null
        val top = placed(rows, down, size.height)
        val left = placed(cols, across, size.width)
        return Crop(box, Box(top, left, top + size.height, left + size.width))
    }

    /** The crops of both halves, along the side that is longer in crops. */
    private fun halves(
        box: Box,
        down: IntRange,
        across: IntRange,
        halvings: Int,
        thrifty: Boolean,
    ): List<Crop>? {
        val tall = down.count().toDouble() / sizes.maxOf { it.height }
        val wide = across.count().toDouble() / sizes.maxOf { it.width }
        val (first, second) = if (tall >= wide) {
            val middle = (box.top + box.bottom) / 2
            Pair(box.copy(bottom = middle), box.copy(top = middle))
        } else {
            val middle = (box.left + box.right) / 2
            Pair(box.copy(right = middle), box.copy(left = middle))
        }
        if (first.area == 0) return null
        val one = crops(first, halvings - 1, thrifty) ?: return null
        val other = crops(second, halvings - 1, thrifty) ?: return null
        return one + other
    }

    private fun size(height: Int, width: Int) =
        sizes.first { it.height == height && it.width == width }

    /** What a change from [first] to [last] needs, from stride to stride. */
    private fun needed(axis: Axis, reach: Axis, first: Int, last: Int): IntRange {
        val outputs = reach.affected(first, last)
        if (outputs.isEmpty()) return IntRange.EMPTY
        val inputs = axis.needed(outputs)
        val end = ceilDiv(inputs.last + 1, axis.stride) * axis.stride
        return inputs.first / axis.stride * axis.stride until minOf(end, axis.size)
    }

    /** Where a crop around [inputs] begins, so that it lies inside of the frame. */
    private fun placed(axis: Axis, inputs: IntRange, side: Int): Int {
        val spare = (side - inputs.count()) / 2 / axis.stride * axis.stride
        return maxOf(0, minOf(inputs.first - spare, axis.size - side))
    }

    private companion object {
        const val HALVINGS = 4 // a region of more than 16 parts is for the whole frame
    }
}

/** Crops without those whose box another one has. */
internal fun List<Crop>.once(): List<Crop> = distinctBy { it.box }

internal fun ceilDiv(a: Int, b: Int): Int = -Math.floorDiv(-a, b)
