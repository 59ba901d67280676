#!/usr/bin/env bash
# All that only a GPU can tell, in one call of under ten minutes: tests, memory checker, then benchmarks.
#
#     [PYTHON=python3] [OUT=FOLDER] benchmarks/gpu.sh
#
# Needs torch with CUDA, cuda-bindings, pytest and what ulmkit needs but for spaCy and datasets; fastai where it is to be
# compared with. Everything runs even if something before it fails; the exit status is that of the first failure.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results}
date=$(date +%F)
export PYTHONPATH=$PWD:${PYTHONPATH:-}
mkdir -p "$out"
status=0
run() {
    echo "== $*"
    timeout "${limit}" "$@" 2>&1 | tee "$out/$name-$date.log"
    local found=${PIPESTATUS[0]}
    [ "$status" -ne 0 ] || status=$found
}

limit=30 name=gpu-info run "$python" -m ulmkit info --device cuda
limit=240 name=gpu-tests run "$python" -m pytest -q -m gpu tests/kernels/cuda
if command -v compute-sanitizer > /dev/null; then
    limit=90 name=gpu-sanitizer run compute-sanitizer --error-exitcode 1 "$python" -m pytest -q -m gpu tests/kernels/cuda \
        -k "test_forward_and_every_gradient and (shape1 or shape2) and dtype0"
fi
limit=120 name=lstm_cuda run "$python" benchmarks/lstm_cuda.py --json "$out/lstm_cuda-$date.json"
limit=120 name=train_cuda run "$python" benchmarks/train_cuda.py --json "$out/train_cuda-$date.json"
exit "$status"
