#!/usr/bin/env bash
# The tests of the kernels under the sanitizers of addresses and of undefined behaviour:
#
#     tests/kernels/sanitize.sh [pytest's options]
#
# The library is built into a copy of the package, and conftest.py builds the one with emulated tiles by CXXFLAGS. The
# first finding ends the run, with the stack of the C++ and then of the test. Pieces of one tensor, such as those of a
# workspace, are not told apart. Needs GCC, and in PYTHON the virtual environment's Python if it is not .venv/bin/python.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-.venv/bin/python}
export CXXFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r ulmkit "$copy"
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
c++ -std=c++17 -fopenmp -fPIC -shared $CXXFLAGS -o "$copy/ulmkit/kernels/cpu/_library$suffix" ulmkit/kernels/cpu/*.cpp

# libstdc++ comes along so that the sanitizer finds how to throw. -P keeps the checkout's package off the path.
export LD_PRELOAD="$(c++ -print-file-name=libasan.so) $(c++ -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:handle_segv=2 UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1
export PYTHONPATH=$copy PYTHONMALLOC=malloc TMPDIR=$copy ULMKIT_TEST_BUILDS=$copy/builds
"$python" -P -c 'from ulmkit.kernels.cpu.library import library; library()' # else the tests would be skipped
"$python" -P -m pytest -p no:cacheprovider --capture=sys tests/kernels "$@"
