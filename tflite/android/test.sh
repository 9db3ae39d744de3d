#!/usr/bin/env bash
# Compiles the Kotlin core and compares its results with Python's. Both use LiteRT's C library.
#
#     tflite/android/test.sh PYTHON FOLDER
#
# PYTHON is an interpreter that has the package with its extras tensorflow and mobile. FOLDER keeps
# the compiler (0.1 GB).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
KOTLIN=2.4.20 # version of the npm package kotlin-compiler
JNA=${JNA:-/usr/share/java/jna.jar}

say() { echo "$@" >&2; }
install() { # PACKAGE...: root installs Debian packages, others get a message
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "The tests of the Kotlin core need $1. On Debian: apt-get install $*"
        exit 1
    fi
    say "Installing $*, once ..."
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}
command -v npm >/dev/null || { say "The tests of the Kotlin core need npm: install it."; exit 1; }
command -v java >/dev/null || install default-jre-headless
[ -f "$JNA" ] || install libjna-java
[ -f "$JNA" ] || { say "There is no $JNA. Name the file: JNA=/path/to/jna.jar"; exit 1; }

python=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
kotlin=$folder/node_modules/kotlin-compiler
if [ "$("$kotlin/bin/kotlinc" -version 2>&1 | grep -c " $KOTLIN ")" != 1 ]; then
    say "Downloading kotlinc $KOTLIN from npm, once: 90 MB ..."
    npm install --prefix "$folder" --no-audit --no-fund --silent "kotlin-compiler@$KOTLIN"
    chmod +x "$kotlin/bin/kotlinc"
fi

say "Compiling ..."
"$kotlin/bin/kotlinc" -Werror -jvm-target 17 -cp "$JNA" -d "$folder/tests.jar" \
    core/src/main/kotlin core/src/test/kotlin

quietly() { # LOG COMMAND... : prints what a command printed only if it fails
    local log=$1
    shift
    "$@" 2>"$log" || { grep -v "^INFO" "$log" >&2; exit 1; }
}

say "Writing files and Python's results ..."
rm -rf "$folder/cases"
PYTHONPATH="$PWD/../.." KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 \
    quietly "$folder/cases.log" "$python" make_cases.py "$folder/cases" >"$folder/cases.out"
library=$("$python" -c "import ai_edge_litert as a; print(a.__path__[0] + '/libLiteRt.so')")

say "Testing ..."
quietly "$folder/tests.log" java -Djna.nosys=false \
    -cp "$folder/tests.jar:$kotlin/lib/kotlin-stdlib.jar:$JNA" \
    keras.seqpar.TestsKt "$folder/cases" "$library"
