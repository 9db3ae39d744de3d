package keras.seqpar

import kotlin.math.abs

/** Runs named checks and counts them: all the test framework that is needed here. */
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

    /** @return the exit status. */
    fun report(): Int {
        println("$passed passed, $failed failed")
        return if (failed == 0 && passed > 0) 0 else 1
    }
}

fun assertEquals(wanted: Any?, found: Any?, what: String = "value") {
    if (wanted != found) throw AssertionError("$what: wanted $wanted, got $found")
}

/** All values lie within [bound] of the wanted ones. */
fun assertClose(wanted: List<Double>, found: FloatArray, bound: Double, what: String = "scores") {
    assertEquals(wanted.size, found.size, "number of $what")
    wanted.zip(found.toList()) { want, have ->
        if (abs(want - have) > bound || have.isNaN()) {
            throw AssertionError("$what: wanted $wanted, got ${found.toList()}")
        }
    }
}

/** The block fails with such an error, whose message has all of these. */
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
