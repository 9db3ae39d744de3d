package keras.seqpar

/** A part of a frame in pixels; [bottom] and [right] are exclusive. */
data class Box(val top: Int, val left: Int, val bottom: Int, val right: Int) {
    val height: Int get() = bottom - top
    val width: Int get() = right - left
    val area: Int get() = height * width
}

/**
 * Which inputs the outputs read, along the rows or the columns of a frame.
 *
 * Counterpart of `CropAxis` in keras_seqpar. With `scale = numerator / denominator`, output `i` reads
 * inputs from `i * scale - before` to `i * scale + after` only.
 *
 * @property size number of inputs.
 * @property outputs number of outputs.
 * @property stride crops begin at multiples of it.
 * @property numerator inputs per output, divided by [denominator].
 * @property denominator see [numerator].
 * @property before inputs before `i * scale` that an output reads.
 * @property after inputs after `i * scale` that an output reads.
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
    /** A copy whose receptive field has this many pixels to both sides; unchanged for `null`. */
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

    /** The inputs that these outputs read. */
    fun needed(outputs: IntRange): IntRange {
        val first = Math.floorDiv(outputs.first * numerator, denominator) - before
        val last = ceilDiv(outputs.last * numerator, denominator) + after
        return maxOf(first, 0)..minOf(last, size - 1)
    }

    /** The outputs for which a crop of these inputs gives the same values as the whole frame. */
    fun known(start: Int, end: Int): IntRange {
        val low = if (start == 0) 0 else ceilDiv((start + before) * denominator, numerator)
        val high = Math.floorDiv((end - 1 - after) * denominator, numerator)
        return low..(if (end == size) outputs - 1 else high)
    }

    /** The first output of a crop that begins at input [start]. */
    fun offset(start: Int): Int = start * denominator / numerator

    companion object {
        fun read(config: JsonObject): Axis {
            val (numerator, denominator) = config.numbers("scale").map { it.toInt() }
            fun int(key: String) = config.integer(key).toInt()
            val axis = Axis(
                int("size"), int("outputs"), int("stride"), numerator, denominator,
                int("before"), int("after"),
            )
            require(minOf(axis.size, axis.outputs, axis.stride) > 0) { "an axis is $axis" }
            require(minOf(numerator, denominator) > 0) { "an axis is $axis" }
            return axis
        }
    }
}

/**
 * A crop of a frame.
 *
 * @property changed box around the changed pixels that the crop is computed for.
 * @property box part of the frame that goes through the network.
 */
internal class Crop(val changed: Box, val box: Box)

/** A size of crops; [price] is the cost of one, in pixels of a whole frame. */
internal class CropSize(val height: Int, val width: Int, val price: Double)

/**
 * Chooses crops of fixed sizes for changes.
 *
 * @property rows rows of the frame; their receptive field is the distance at which a change affects
 *   outputs, and the context that crops must have.
 * @property cols columns of the frame, likewise.
 */
internal class CropPlanner(
    val rows: Axis,
    val cols: Axis,
    private val sizes: List<CropSize>,
) {
    private val framePrice = rows.size.toDouble() * cols.size

    /**
     * The crops for a change, or `null` if a whole frame is cheaper or no crop is large enough.
     * Several crops may have the same box: compute it once ([distinctCrops]).
     *
     * @param changed one value per pixel, row by row.
     * @param least the smallest number of changed pixels of a region.
     * @param most the largest cost of all crops, as a share of a whole frame's cost.
     */
    fun plan(changed: BooleanArray, least: Int, most: Double): List<Crop>? {
        val boxes = mergedBoxes(changed, cols.size, least, ::price)
        val crops = boxes.flatMap { crops(it, saveCost = true) ?: return null }
        return crops.takeIf { cost(it) < most * framePrice }
    }

    /** The cost of the crops for a changed box; at most the cost of a whole frame. */
    private fun price(box: Box): Double =
        crops(box)?.let { minOf(framePrice, cost(it)) } ?: framePrice

    private fun cost(crops: List<Crop>) =
        crops.distinctCrops().sumOf { size(it.box.height, it.box.width).price }

    /**
     * The cheapest crop that holds a changed box, or the crops for its two halves.
     *
     * The list is empty if no output reads the box. It is `null` if no crop is large enough.
     *
     * @param halvings how many times the box may be halved.
     * @param saveCost also halve it, at most twice, if that costs less than one crop.
     */
    fun crops(box: Box, halvings: Int = HALVINGS, saveCost: Boolean = false): List<Crop>? {
        val down = needed(rows, box.top, box.bottom - 1)
        val across = needed(cols, box.left, box.right - 1)
        if (down.isEmpty() || across.isEmpty()) return emptyList()
        val one = holding(box, down, across)?.let(::listOf)
        val moreHalvings = when {
            one == null -> halvings
            !saveCost || cost(one) <= 2 * sizes.minOf { it.price } -> 0
            else -> minOf(halvings, 2)
        }
        if (moreHalvings == 0) return one
        val halves = halves(box, down, across, moreHalvings, saveCost)
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

    /** The crops for both halves of a box; it is halved along the side that needs more crops. */
    private fun halves(
        box: Box,
        down: IntRange,
        across: IntRange,
        halvings: Int,
        saveCost: Boolean,
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
        val one = crops(first, halvings - 1, saveCost) ?: return null
        val other = crops(second, halvings - 1, saveCost) ?: return null
        return one + other
    }

    private fun size(height: Int, width: Int) =
        sizes.first { it.height == height && it.width == width }

    /** The inputs for a change from [first] to [last], extended to multiples of the stride. */
    private fun needed(axis: Axis, first: Int, last: Int): IntRange {
        val outputs = axis.affected(first, last)
        if (outputs.isEmpty()) return IntRange.EMPTY
        val inputs = axis.needed(outputs)
        val end = ceilDiv(inputs.last + 1, axis.stride) * axis.stride
        return inputs.first / axis.stride * axis.stride until minOf(end, axis.size)
    }

    /** The start of a crop around [inputs] that is inside the frame. */
    private fun placed(axis: Axis, inputs: IntRange, side: Int): Int {
        val spare = (side - inputs.count()) / 2 / axis.stride * axis.stride
        return maxOf(0, minOf(inputs.first - spare, axis.size - side))
    }

    private companion object {
        const val HALVINGS = 4 // a region that needs more than 16 parts takes a whole frame
    }
}

/** One crop per box. */
internal fun List<Crop>.distinctCrops(): List<Crop> = distinctBy { it.box }

internal fun ceilDiv(a: Int, b: Int): Int = -Math.floorDiv(-a, b)
