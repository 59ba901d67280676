#!/usr/bin/env bash
# All that only a GPU can tell, in one call of under ten minutes: tests, memory checker, then benchmarks.
#
#     [PYTHON=python3] [OUT=FOLDER] [WHEELS=FOLDER] benchmarks/gpu.sh
#
# Needs torch with CUDA, cuda-bindings, pytest and what ulmkit needs but for spaCy and datasets. Peers are compared with
# where they are there, or in WHEELS (see peer_wheels.sh), for machines without a network; FlashRNN also needs nvcc,
# which compiles it while the tests run.
# Everything runs even if something before it fails; the exit status is that of the first failure.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results}
date=$(date +%F)
export PYTHONPATH=$PWD:${PYTHONPATH:-}
mkdir -p "$out"
if [ -n "${WHEELS:-}" ]; then
    peers=$(mktemp -d)
    trap 'rm -rf "$peers"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --target "$peers" "$WHEELS"/*.whl
    PYTHONPATH=$PYTHONPATH:$peers
fi
status=0
run() {
    echo "== $*"
    timeout "${limit}" "$@" 2>&1 | tee "$out/$name-$date.log"
    local found=${PIPESTATUS[0]}
    [ "$status" -ne 0 ] || status=$found
}

flashrnn=("$python" benchmarks/lstm_cuda.py --flashrnn --batches 64)
building=
if "$python" -c 'import flashrnn' 2> /dev/null && command -v nvcc > /dev/null; then
    timeout 240 "${flashrnn[@]}" --repeats 1 > "$out/lstm_cuda_flashrnn-build-$date.log" 2>&1 &
    building=$!
fi
limit=30 name=gpu-info run "$python" -m ulmkit info --device cuda
limit=180 name=gpu-tests run "$python" -m pytest -q -m gpu tests/kernels/cuda
if command -v compute-sanitizer > /dev/null; then
    limit=60 name=gpu-sanitizer run compute-sanitizer --error-exitcode 1 "$python" -m pytest -q -m gpu tests/kernels/cuda \
        -k "test_forward_and_every_gradient and (shape1 or shape2) and dtype0"
fi
[ -z "$building" ] || wait "$building"
limit=90 name=lstm_cuda run "$python" benchmarks/lstm_cuda.py --json "$out/lstm_cuda-$date.json"
limit=120 name=train_cuda run "$python" benchmarks/train_cuda.py --json "$out/train_cuda-$date.json"
if [ -n "$building" ]; then
    limit=110 name=lstm_cuda_flashrnn run "${flashrnn[@]}" --json "$out/lstm_cuda_flashrnn-$date.json"
fi
exit "$status"
