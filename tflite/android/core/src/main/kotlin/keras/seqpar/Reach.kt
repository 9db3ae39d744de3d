package keras.seqpar

/**
 * Which positions of an input the outputs of an operation read, along one axis.
 *
 * Counterpart of keras_seqpar.selective.planning.effects. Ranges are from a first position until an
 * end, which is excluded.
 */
internal sealed interface Reach {
    /** The outputs, of [count], that read any of these inputs; empty if none does. */
    fun outputs(first: Int, end: Int, count: Int): IntRange
}

/** A reach of which crops of the inputs can be computed. */
internal sealed interface CropReach : Reach {
    /** The first input of the crop for outputs from [first] on; it may lie outside of the map. */
    fun start(first: Int): Int

    /** The number of inputs of the crop for [count] outputs. */
    fun size(count: Int): Int
}

/** Output `o` reads [extent] inputs from `o * stride - before` on. */
internal data class Window(val extent: Int, val stride: Int, val before: Int) : CropReach {
    override fun outputs(first: Int, end: Int, count: Int): IntRange {
        val low = -Math.floorDiv(extent - 1 - before - first, stride)
        val high = Math.floorDiv(end - 1 + before, stride) + 1
        return maxOf(low, 0) until minOf(high, count)
    }

    override fun start(first: Int): Int = first * stride - before

    override fun size(count: Int): Int = (count - 1) * stride + extent
}

/** Input `i` reaches [extent] outputs from `i * stride - before` on: maps grow. */
internal data class Transposed(
    val extent: Int,
    val stride: Int,
    val before: Int,
    val after: Int,
) : CropReach {
    override fun outputs(first: Int, end: Int, count: Int): IntRange {
        val (low, high) = Pair(first * stride - before, (end - 1) * stride - before)
        return maxOf(low, 0) until minOf(high + extent, count)
    }

    override fun start(first: Int): Int = first / stride

    override fun size(count: Int): Int = (count - extent + before + after) / stride + 1

    /** The outputs that are made of all inputs, of [count], that some outputs read. */
    fun made(first: Int, end: Int, count: Int): IntRange {
        val low = maxOf(-Math.floorDiv(extent - 1 - first - before, stride), 0)
        val high = minOf(Math.floorDiv(end - 1 + before, stride) + 1, count)
        val start = low * stride
        return start until start + (high - low - 1) * stride + extent - before - after
    }
}

/** Output `o` reads the inputs from `low[o]` to `high[o]`, both included. */
internal class Spans(val low: List<Int>, val high: List<Int>) : Reach {
    override fun outputs(first: Int, end: Int, count: Int): IntRange {
        val found = (0 until minOf(count, low.size)).filter { high[it] >= first && low[it] < end }
        return if (found.isEmpty()) IntRange.EMPTY else found.first()..found.last()
    }
}
