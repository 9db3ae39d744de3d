package keras.seqpar

import java.io.File
import java.nio.ByteBuffer

/**
 * What there is to do for a change.
 *
 * @property boxes of every step, the boxes of its outputs to compute.
 * @property changed number of a map -> the boxes of it that change.
 * @property dense whether the part that is computed whole has to be.
 * @property cost [macs], with what starting runs and copying costs.
 */
internal class Work(
    val boxes: List<List<Box>>,
    val changed: Map<Int, List<Box>>,
    val dense: Boolean,
    val macs: Long,
    val cost: Double,
)

/**
 * The stored maps of a stream, and the runs that compute them.
 *
 * Counterpart of keras_seqpar.selective.planning.engine. All files are checked and loaded at once.
 */
internal class StreamEngine(
    private val plan: StreamPlan,
    engines: Engines,
    threads: Int,
) : AutoCloseable {
    private val runs = ArrayList<Run>()
    private val ofSteps: List<Run?>
    private val dense: Run?
    private val full: Run
    private val onlyWhole = HashSet<CropStep>() // whose interpreters do not grow crops

    /** Number of a tensor -> the bytes of its values; views share those of their source. */
    val maps = HashMap<Int, ByteArray>(plan.constants)

    /** All outputs of all steps, with those that read nothing of the frame, as in borders. */
    val everything: Work

    init {
        fun load(file: RunFile, takes: List<Tensor>, gives: List<Int>): Run {
            val outputs = gives.map { plan.tensors[it] }
            return Run(plan.checked(file), engines, threads, takes, outputs).also(runs::add)
        }

        fun load(step: WholeStep): Run =
            load(step.file, step.inputs.map { plan.tensors[it] }, step.outputs)
        try {
            ofSteps = plan.steps.map { step ->
                when (step) {
                    is CropStep -> step.file?.let { load(it, step.takes(), step.outputs) }
                    is WholeStep -> load(step)
                    is ViewStep -> null
                }
            }
            dense = plan.dense?.let(::load)
            full = load(plan.full)
            plan.steps.forEachIndexed { i, step ->
                if (step is CropStep && step.grown != null && !grows(step, ofSteps[i]!!)) {
                    onlyWhole.add(step)
                }
            }
        } catch (error: Exception) {
            close()
            throw error
        }
        for (i in plan.stored) maps[i] = ByteArray(plan.tensors[i].bytes)
        for (step in plan.steps) {
            if (step is ViewStep) maps[step.outputs[0]] = maps.getValue(step.source)
        }
        everything = wholeWork()
    }

    /**
     * Finds what has to be computed where boxes of the frame change.
     *
     * @param margin pixels around them up to which effects are followed; `null` for all effects.
     */
    fun follow(boxes: List<Box>, margin: Int? = null): Work {
        val (rows, cols) = plan.tensors[plan.frame].shape.subList(1, 3)
        val limits = margin?.let { by -> boxes.map { it.grown(by, rows, cols) } }

        fun limited(found: List<Box>, step: Step): List<Box> {
            if (limits == null) return found
            val (height, width) = plan.tensors[step.outputs[0]].shape.subList(1, 3)
            val scaled = limits.map {
                Box(
                    it.top * height / rows, it.left * width / cols,
                    ceilDiv(it.bottom * height, rows), ceilDiv(it.right * width, cols),
                )
            }
            return found.flatMap { box -> scaled.map(box::common) }
                .filter { it.height > 0 && it.width > 0 }
        }
        val changed = hashMapOf(plan.frame to boxes)
        val ofSteps = ArrayList<List<Box>>()
        var macs = 0L
        var cost = 0.0
        for (step in plan.steps) {
            val found = when (step) {
                is ViewStep -> {
                    val (height, width) = plan.tensors[step.outputs[0]].shape.subList(1, 3)
                    val all = changed[step.source].orEmpty()
                        .map { reached(it, step.rows, step.cols, height, width) }
                    limited(all, step)
                }
                is CropStep -> {
                    val all = step.sources.flatMap { source ->
                        changed[source.tensor].orEmpty().map { box ->
                            reached(box, source.rows, source.cols, step.height, step.width)
                        }
                    }.filter { it.height > 0 && it.width > 0 }
                    mergeByCost(limited(all, step)) { cost(step, it) }
                }
                is WholeStep -> {
                    val (height, width) = plan.tensors[step.outputs[0]].shape.subList(1, 3)
                    val all = step.inputs.flatMap { changed[it].orEmpty() }
                        .map { reached(it, step.rows!!, step.cols!!, height, width) }
                        .filter { it.height > 0 && it.width > 0 }
                    mergeByCost(limited(all, step)) { it.area.toDouble() }
                }
            }
            if (step is CropStep) {
                macs += found.sumOf { step.macs * it.area }
                cost += found.sumOf { cost(step, it) }
            } else if (step is WholeStep && found.isNotEmpty()) {
                macs += step.macs
                cost += step.macs
            }
            ofSteps.add(found)
            if (found.isNotEmpty()) step.outputs.forEach { changed[it] = found }
        }
        val dense = plan.dense?.takeIf { step -> step.inputs.any { !changed[it].isNullOrEmpty() } }
        val more = dense?.macs ?: 0
        return Work(ofSteps, changed, dense != null, macs + more, cost + more)
    }

    private fun wholeWork(): Work {
        fun whole(i: Int): List<Box> {
            val (height, width) = plan.tensors[i].shape.subList(1, 3)
            return listOf(Box(0, 0, height, width))
        }
        val made = plan.steps.flatMap { it.outputs } + plan.frame
        val cost = plan.steps.sumOf { step ->
            when (step) {
                is CropStep -> step.cost(step.height, step.width)
                is WholeStep -> step.macs.toDouble()
                is ViewStep -> 0.0
            }
        }
        return Work(
            plan.steps.map { whole(it.outputs[0]) },
            made.associateWith(::whole),
            plan.dense != null,
            plan.macs,
            cost + (plan.dense?.macs ?: 0),
        )
    }

    /** Sets the inputs other than the frame; everything has to be computed after that. */
    fun setExtras(values: Map<Int, ByteArray>) = maps.putAll(values)

    /** Computes what there is to do. The stored map of the frame has its new values already. */
    fun compute(work: Work) {
        if (work === everything) {
            compute(plan.full, full)
            return
        }
        plan.steps.forEachIndexed { i, step ->
            val boxes = work.boxes[i]
            if (step is CropStep) {
                val run = ofSteps[i]
                for (box in boxes) if (run == null) copy(step, box) else compute(step, run, box)
            } else if (step is WholeStep && boxes.isNotEmpty()) {
                compute(step, ofSteps[i]!!, boxes)
            }
        }
        if (work.dense) compute(plan.dense!!, dense!!)
    }

    override fun close() = runs.forEach { it.close() }

    /** Computes whole maps, of which only [boxes] are taken over; `null` for everything. */
    private fun compute(step: WholeStep, run: Run, boxes: List<Box>? = null) {
        step.inputs.forEachIndexed { i, tensor -> run.input(i).put(maps.getValue(tensor)) }
        run.invoke().forEachIndexed { i, values ->
            val map = maps.getOrPut(step.outputs[i]) { ByteArray(values.remaining()) }
            if (boxes == null) values.get(map)
            val tensor = plan.tensors[step.outputs[i]]
            for (box in boxes.orEmpty()) {
                for (y in box.top until box.bottom) {
                    val at = (y * tensor.shape[2] + box.left) * tensor.positionBytes
                    values.position(at)
                    values.get(map, at, box.width * tensor.positionBytes)
                }
            }
        }
    }

    /** Computes a box of outputs and writes it into the stored maps. */
    private fun compute(step: CropStep, run: Run, box: Box) {
        val made = made(step, box)
        fit(step, run, made)
        step.sources.forEachIndexed { i, source -> copyCrop(source, made, run.input(i)) }
        step.vectors.forEachIndexed { i, vector ->
            run.input(step.sources.size + i).put(maps.getValue(vector))
        }
        run.invoke().forEachIndexed { i, values ->
            val map = maps.getValue(step.outputs[i])
            val position = plan.tensors[step.outputs[i]].positionBytes
            for (y in box.top until box.bottom) {
                values.position(((y - made.top) * made.width + box.left - made.left) * position)
                values.get(map, (y * step.width + box.left) * position, box.width * position)
            }
        }
    }

    private fun fit(step: CropStep, run: Run, made: Box) =
        run.fit(step.sources.map { it.shape(made.height, made.width, channels(it)) })

    /** The outputs that are computed for a box: more than it where maps grow. */
    private fun made(step: CropStep, box: Box): Box {
        val source = step.grown ?: return box
        if (step in onlyWhole) return Box(0, 0, step.height, step.width)
        val (height, width) = plan.tensors[source.tensor].shape.subList(1, 3)
        val down = (source.rows as Transposed).made(box.top, box.bottom, height)
        val across = (source.cols as Transposed).made(box.left, box.right, width)
        return Box(down.first, across.first, down.last + 1, across.last + 1)
    }

    private fun cost(step: CropStep, box: Box): Double =
        if (step in onlyWhole) {
            step.cost(step.height, step.width)
        } else {
            step.cost(box.height, box.width)
        }

    /** Whether the interpreter grows crops of any size, whatever size the file states. */
    private fun grows(step: CropStep, run: Run): Boolean {
        val made = made(step, Box(0, 0, 1, 1))
        val bytes = step.outputs.map { made.area * plan.tensors[it].positionBytes }
        return try {
            fit(step, run, made)
            run.invoke().map { it.remaining() } == bytes
        } catch (_: RuntimeException) {
            false
        }
    }

    /** Copies the values of a box of outputs from other positions. */
    private fun copy(step: CropStep, box: Box) {
        val source = step.sources[0]
        val (rows, cols) = Pair((source.rows as Spans).low, (source.cols as Spans).low)
        val (from, into) = Pair(plan.tensors[source.tensor], plan.tensors[step.outputs[0]])
        val (old, new) = Pair(maps.getValue(source.tensor), maps.getValue(step.outputs[0]))
        val (height, width) = from.shape.subList(1, 3)
        val bytes = into.positionBytes
        val border = source.border?.let { source.row(bytes) }
        for (y in box.top until box.bottom) {
            for (x in box.left until box.right) {
                val at = (y * step.width + x) * bytes
                if (border != null && (rows[y] < 0 || cols[x] < 0)) {
                    border.copyInto(new, at)
                    continue
                }
                val row = rows[y].coerceIn(0, height - 1)
                val position = row * width + cols[x].coerceIn(0, width - 1)
                val start = position * from.positionBytes + source.firstChannel * from.width
                old.copyInto(new, at, start, start + bytes)
            }
        }
    }

    /** Copies what a box of outputs reads, with a border where it lies outside of the map. */
    private fun copyCrop(source: Source, box: Box, into: ByteBuffer) {
        val map = maps.getValue(source.tensor)
        val tensor = plan.tensors[source.tensor]
        val (height, width) = tensor.shape.subList(1, 3)
        val position = tensor.positionBytes
        val (rows, cols) = Pair(source.rows as CropReach, source.cols as CropReach)
        val (top, left) = Pair(rows.start(box.top), cols.start(box.left))
        val (bottom, across) = Pair(top + rows.size(box.height), cols.size(box.width))
        val isInside = top >= 0 && left >= 0 && bottom <= height && left + across <= width
        val border = if (isInside) ByteArray(0) else source.row(across * position)
        val before = minOf(maxOf(-left, 0), across)
        val inside = maxOf(minOf(left + across, width) - maxOf(left, 0), 0)
        for (y in top until bottom) {
            if (y < 0 || y >= height || inside == 0) {
                into.put(border)
                continue
            }
            into.put(border, 0, before * position)
            into.put(map, (y * width + left + before) * position, inside * position)
            into.put(border, 0, (across - before - inside) * position)
        }
    }

    private fun channels(source: Source) = plan.tensors[source.tensor].shape[3]

    private fun CropStep.takes(): List<Tensor> =
        sources.map { source ->
            val tensor = plan.tensors[source.tensor]
            tensor.copy(shape = source.shape(height, width, channels(source)))
        } + vectors.map { plan.tensors[it] }
}

/** A loaded file, and the buffers of its inputs. */
internal class Run(
    file: File,
    engines: Engines,
    threads: Int,
    takes: List<Tensor>,
    gives: List<Tensor>,
) : AutoCloseable {
    private val engine = open(file, engines, threads)
    private val rooms = takes.map { Room() }
    private val buffers = takes.mapIndexed { i, it -> rooms[i].of(it.bytes) }.toMutableList()
    private val widths = takes.map { it.width }
    private var shapes = takes.map { it.shape }

    init {
        // Scales and names are not compared: bytes are copied as they are.
        fun List<Tensor>.kinds() = map { Pair(it.bytes, it.dtype) }
        val inputs = engine.inputs.map { it.tensor }
        val outputs = engine.outputs.map { it.tensor }
        if (inputs.kinds() != takes.kinds() || outputs.kinds() != gives.kinds()) {
            engine.close()
            throw IllegalArgumentException(
                "'$file' takes $inputs and gives $outputs, but the manifest says $takes and " +
                    "$gives. Copy the folder again.",
            )
        }
    }

    /** Resizes the first inputs, where they had other shapes before. */
    fun fit(wanted: List<List<Int>>) {
        val now = wanted + shapes.drop(wanted.size)
        if (now == shapes) return
        shapes = emptyList() // if resizing fails, it is done again
        engine.resize(wanted)
        wanted.forEachIndexed { i, shape ->
            buffers[i] = rooms[i].of(shape.fold(widths[i], Int::times))
        }
        shapes = now
    }

    /** The buffer of an input, at its beginning. */
    fun input(i: Int): ByteBuffer = buffers[i].apply { clear() }

    fun invoke(): List<ByteBuffer> {
        buffers.forEach { it.clear() }
        return engine.run(buffers).map { it.duplicate().apply { clear() } }
    }

    override fun close() = engine.close()
}

/** The outputs that read a box. */
private fun reached(box: Box, rows: Reach, cols: Reach, height: Int, width: Int): Box {
    val down = rows.outputs(box.top, box.bottom, height)
    val across = cols.outputs(box.left, box.right, width)
    return Box(down.first, across.first, down.last + 1, across.last + 1)
}

/** Bytes of a row of the border. */
private fun Source.row(bytes: Int): ByteArray {
    val value = border ?: return ByteArray(bytes)
    return ByteArray(bytes) { value[it % value.size] }
}

private val Tensor.positionBytes: Int get() = shape[3] * width
