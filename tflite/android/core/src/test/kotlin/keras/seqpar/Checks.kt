package keras.seqpar

import kotlin.math.abs

/** A minimal test framework: runs named checks and counts failures. */
object Checks {
    private var passed = 0
    private var failed = 0

    fun check(name: String, block: () -> Unit) {
        try {
            block()
            passed++
        } catch (error: Throwable) {
            failed++
            println("FAILED $name: $error")
            error.stackTrace.take(8).forEach { println("    at $it") }
        }
    }

    /** Prints the counts and returns the exit status. */
    fun report(): Int {
        println("$passed passed, $failed failed")
        return if (failed == 0 && passed > 0) 0 else 1
    }
}

fun assertEquals(wanted: Any?, found: Any?, what: String = "value") {
    if (wanted != found) throw AssertionError("$what: wanted $wanted, got $found")
}

/** Checks that all values differ from the expected values by at most [bound]. */
fun assertClose(wanted: List<Double>, found: FloatArray, bound: Double, what: String = "scores") {
    assertEquals(wanted.size, found.size, "number of $what")
    wanted.zip(found.toList()) { expected, actual ->
        if (abs(expected - actual) > bound || actual.isNaN()) {
            throw AssertionError("$what: wanted $wanted, got ${found.toList()}")
        }
    }
}

/** Checks that the block throws an error of this type, whose message contains all [parts]. */
inline fun <reified T : Throwable> assertFails(vararg parts: String, block: () -> Unit) {
    val error = try {
        block()
        null
    } catch (error: Throwable) {
        error
    }
    if (error !is T) throw AssertionError("wanted ${T::class.simpleName}, got $error", error)
    parts.forEach { part ->
        if (part !in error.message.orEmpty()) {
            throw AssertionError("wanted '$part' in: ${error.message}", error)
        }
    }
}

fun assertBytes(wanted: ByteArray, found: ByteArray, what: String) {
    assertEquals(wanted.size, found.size, "bytes of $what")
    assertEquals(0, wanted.indices.count { wanted[it] != found[it] }, "other bytes of $what")
}
