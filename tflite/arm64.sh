#!/usr/bin/env bash
# Does an int8 file give the same bits on a 64-bit ARM as here? Runs LiteRT's aarch64 wheel in qemu.
#
#     tflite/arm64.sh PYTHON FOLDER
#
# PYTHON has the package with its [tensorflow,mobile] extras; FOLDER keeps what is downloaded, 0.7
# GB on disk. Needs Debian 12 on x86-64; neither root nor anything installed: the ARM system's
# files and qemu are Debian's packages, unpacked below FOLDER.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# qemu 7.2 crashes in ai-edge-litert 2.2 and 2.3. Of its CPUs, max gives wrong results.
LITERT=2.1.6
CPU=neoverse-n1
PACKAGES="python3.11-minimal libpython3.11-stdlib libstdc++6"

python=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
say() { echo "$@" >&2; }

if [ "$(uname -m)" != x86_64 ]; then
    say "This check compares an x86-64 machine with an emulated ARM, and this is a $(uname -m)."
    exit 1
fi
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null && continue
    say "There is no $tool: this check needs Debian 12."
    exit 1
done

# Downloads the packages with all that they need, into a folder of their own, and unpacks them.
unpack() { # ARCHITECTURE INTO PACKAGE...
    local arch=$1 into=$2 apt=$folder/apt-$1
    shift 2
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial}
    : >"$apt/status"
    local options=(
        -qq -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status"
        -o "Dir::Cache=$apt/cache"
        -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o Debug::NoLocking=true
        -o Acquire::Languages=none -o APT::Sandbox::User=root
    )
    apt-get "${options[@]}" update
    apt-get "${options[@]}" install -y --download-only --no-install-recommends "$@" >/dev/null || {
        say "Debian 12 has the packages $*, but this system's package lists do not."
        exit 1
    }
    local package
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$into"; done
    rm -rf "$apt"
}

# The wheels of one machine; all but two are of pure Python.
wheels() { # PLATFORM INTO
    local pip=("$python" -m pip install -q --no-input --disable-pip-version-check --no-deps
        --no-compile --upgrade --only-binary=:all: --python-version 3.11 --target "$2")
    local tag tags=()
    for tag in manylinux_2_17 manylinux2014 manylinux_2_27 manylinux_2_28; do
        tags+=(--platform "${tag}_$1")
    done
    "${pip[@]}" "${tags[@]}" -c constraints.txt numpy protobuf
    "${pip[@]}" "${tags[@]}" "ai-edge-litert==$LITERT"
    "${pip[@]}" -c constraints.txt backports.strenum flatbuffers tqdm typing_extensions
}

if [ ! -f "$folder/ready-$LITERT" ]; then
    say "Downloading qemu, Python for arm64 and ai-edge-litert $LITERT, once: 70 MB ..."
    rm -rf "$folder/qemu" "$folder/arm64" "$folder/wheels"
    unpack amd64 "$folder/qemu" qemu-user-static
    unpack arm64 "$folder/arm64" $PACKAGES
    wheels aarch64 "$folder/wheels/aarch64"
    wheels x86_64 "$folder/wheels/x86_64"
    touch "$folder/ready-$LITERT"
fi

run() { # WHAT INTERPRETER... : runs the files with the wheels of a machine
    local what=$1
    shift
    say "Running the files on $what ..."
    PYTHONPATH="$folder/wheels/$what:$PWD" "$@" -P tflite/arm64.py run "$folder/files" \
        "$folder/$what.npz" 2>"$folder/$what.log" || { cat "$folder/$what.log" >&2; exit 1; }
    grep -q "XNNPACK delegate" "$folder/$what.log" || { say "XNNPACK did not run."; exit 1; }
}

rm -rf "$folder/files"
KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 PYTHONPATH="$PWD" \
    "$python" tflite/arm64.py make "$folder/files" 2>"$folder/make.log" ||
    { cat "$folder/make.log" >&2; exit 1; }
run x86_64 "$python"
run aarch64 "$folder/qemu/usr/bin/qemu-aarch64-static" -cpu "$CPU" -L "$folder/arm64" \
    "$folder/arm64/usr/bin/python3.11"
PYTHONPATH="$PWD" "$python" tflite/arm64.py compare "$folder/x86_64.npz" "$folder/aarch64.npz"
