package keras.seqpar

/**
 * Reads a JSON document (RFC 8259). Android has org.json, but a JVM has no JSON reader.
 *
 * @return [JsonObject], `List`, `String`, `Double`, `Boolean` or `null`.
 * @throws IllegalArgumentException the text is not JSON; the message gives the position.
 */
internal fun parseJson(text: String): Any? = JsonReader(text).document()

/** A JSON object. Reading an entry of another type throws an error that names the entry. */
internal class JsonObject(private val entries: Map<String, Any?>) {
    val keys: Set<String> get() = entries.keys

    operator fun get(key: String): Any? = entries[key]

    fun text(key: String): String = entry(key, "a string")

    fun textOrNull(key: String): String? = if (value(key) == null) null else text(key)

    fun number(key: String): Double = entry(key, "a number")

    fun list(key: String): List<Any?> = entry(key, "a list")

    fun child(key: String): JsonObject = entry(key, "an object")

    fun childOrNull(key: String): JsonObject? = if (value(key) == null) null else child(key)

    fun integer(key: String): Long {
        val number = number(key)
        require(number % 1 == 0.0) { "$key must be a whole number, got $number" }
        return number.toLong()
    }

    fun texts(key: String): List<String> = list(key).map { typed(key, it, "a list of strings") }

    fun numbers(key: String): List<Double> = list(key).map { typed(key, it, "a list of numbers") }

    private fun value(key: String): Any? {
        require(key in entries) { "there is no $key" }
        return entries[key]
    }

    private inline fun <reified T> entry(key: String, what: String): T =
        typed(key, value(key), what)

    private inline fun <reified T> typed(key: String, value: Any?, what: String): T {
        require(value is T) { "$key must be $what, got $value" }
        return value
    }
}

private class JsonReader(private val text: String) {
    private var at = 0

    fun document(): Any? {
        val value = value(0)
        skipSpace()
        if (at < text.length) fail("the end")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("at most $MAX_DEPTH levels")
        skipSpace()
        return when (peek()) {
            '{' -> obj(depth)
            '[' -> list(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun obj(depth: Int): JsonObject {
        val entries = LinkedHashMap<String, Any?>()
        sequence('}') {
            skipSpace()
            if (peek() != '"') fail("a name in quotes")
            val key = string()
            skipSpace()
            take(':')
            entries[key] = value(depth + 1)
        }
        return JsonObject(entries)
    }

    private fun list(depth: Int): List<Any?> {
        val items = ArrayList<Any?>()
        sequence(']') { items.add(value(depth + 1)) }
        return items
    }

    /** Reads items separated by commas, up to the closing bracket. */
    private fun sequence(end: Char, item: () -> Unit) {
        at++
        skipSpace()
        if (peek() == end) {
            at++
            return
        }
        while (true) {
            item()
            skipSpace()
            if (peek() == end) break
            take(',')
        }
        at++
    }

    private fun string(): String {
        take('"')
        val found = StringBuilder()
        while (true) {
            val char = peek()
            if (char < ' ') fail("the rest of a string")
            at++
            when (char) {
                '"' -> return found.toString()
                '\\' -> found.append(escape())
                else -> found.append(char)
            }
        }
    }

    private fun escape(): Char {
        val char = peek()
        at++
        return when (char) {
            '"', '\\', '/' -> char
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val digits = text.substring(at, minOf(at + 4, text.length))
                if (!HEX.matches(digits)) fail("four hexadecimal digits")
                at += 4
                digits.toInt(16).toChar()
            }
            else -> fail("an escape")
        }
    }

    private fun number(): Double {
        val match = NUMBER.find(text, at)
        if (match == null || match.range.first != at) fail("a value")
        at = match.range.last + 1
        return match.value.toDouble()
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("a value")
        at += word.length
        return value
    }

    private fun take(char: Char) {
        if (peek() != char) fail("'$char'")
        at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else END

    private fun skipSpace() {
        while (peek() in " \t\r\n") at++
    }

    private fun fail(wanted: String): Nothing =
        throw IllegalArgumentException("no JSON: wanted is $wanted at character $at")

    private companion object {
        const val MAX_DEPTH = 200
        const val END = '\u0000' // does not occur in JSON
        val HEX = Regex("[0-9a-fA-F]{4}")
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
    }
}
