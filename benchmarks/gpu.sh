#!/usr/bin/env bash
# Everything that needs a GPU, in one call of under ten minutes: tests, benchmarks, then the memory checker.
#
#     [PYTHON=python3] [OUT=FOLDER] [WHEELS=FOLDER] [BUDGET=570] [ULMKIT_COMMIT=HASH] benchmarks/gpu.sh
#
# Needs torch with CUDA, cuda-bindings, pytest and ulmkit's dependencies except spaCy and datasets. Peers are measured if
# they are installed, or in WHEELS (see peer_wheels.sh) for machines without a network; FlashRNN also needs nvcc, which
# compiles it while the tests run. ULMKIT_COMMIT is recorded in the results where there is no repository. A failure stops
# nothing else while the BUDGET of seconds lasts; the exit status is that of the first failure. OUT gets the dated JSON
# of each benchmark, and everything printed as gpu-DATE.log.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results}
budget=${BUDGET:-570}
date=$(date +%F)
export PYTHONPATH=$PWD:${PYTHONPATH:-} PATH=$PATH:/usr/local/cuda/bin PYTHONUNBUFFERED=1
status=0

failed() {
    echo "== failed ($1): ${*:2}"
    [ "$status" -ne 0 ] || status=$1
}

# run SECONDS COMMAND...: stops it after these seconds, or when the budget is spent
run() {
    local limit=$1 left=$((budget - SECONDS))
    shift
    [ "$limit" -le "$left" ] || limit=$left
    if [ "$limit" -lt 5 ]; then
        failed 124 "no time left for $*"
        return
    fi
    echo "== after $SECONDS s: $*"
    timeout --signal INT --kill-after 10 "$limit" "$@" || failed $? "$@"
}

main() {
    local scratch flashrnn building built tests checked checker
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    if [ -n "${WHEELS:-}" ]; then
        run 60 "$python" -m pip install --quiet --no-index --no-deps --target "$scratch/peers" "$WHEELS"/*.whl
        PYTHONPATH=$PYTHONPATH:$scratch/peers
    fi
    flashrnn=("$python" benchmarks/lstm_cuda.py --flashrnn --batches 64)
    timeout --kill-after 10 240 "${flashrnn[@]}" --repeats 1 > "$scratch/flashrnn.log" 2>&1 &
    building=$!

    run 40 "$python" -m ulmkit info --device cuda
    # A test that hangs ends its process, and with pytest-xdist costs no other test.
    tests=("$python" -m pytest -v --tb=short -m gpu -o faulthandler_timeout=75 -o faulthandler_exit_on_timeout=true)
    if "$python" -c 'import xdist' 2> /dev/null; then
        run 180 "${tests[@]}" -n 4 tests/kernels/cuda
    else
        run 180 "${tests[@]}" tests/kernels/cuda
    fi

    wait "$building"
    built=$?
    cat "$scratch/flashrnn.log"
    run 90 "$python" benchmarks/lstm_cuda.py --json "$out/lstm_cuda-$date.json"
    run 100 "$python" benchmarks/train_cuda.py --json "$out/train_cuda-$date.json"
    if [ "$built" -eq 0 ]; then
        run 60 "${flashrnn[@]}" --json "$out/lstm_cuda_flashrnn-$date.json"
    else
        failed "$built" "the build of FlashRNN, above"
    fi
    run 60 "$python" benchmarks/lstm_cuda.py --plans 8 --repeats 15 --json "$out/lstm_cuda_plans-$date.json"
    run 150 "$python" benchmarks/train_cuda.py --compiled --json "$out/train_cuda_compiled-$date.json"

    # torch's memory pool would hide accesses beyond a tensor, so each tensor gets memory of its own. CUDA graphs cannot
    # be recorded then; recording only starts when a shape comes a second time.
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    checker=(compute-sanitizer --error-exitcode 1 --report-api-errors no)
    checked="test_forward_and_every_gradient and (shape1-dtype0-True or shape1-dtype2-False)"
    if command -v compute-sanitizer > /dev/null; then
        run 100 "${checker[@]}" "${tests[@]}" tests/kernels/cuda -k "$checked or \
            test_forward_and_every_gradient and shape2-dtype0-False or test_nll_and_every_gradient and shape1 or penalties"
        run 60 "${checker[@]}" --tool racecheck "${tests[@]}" tests/kernels/cuda -k "$checked"
    else
        echo "== left out: the memory checker, since there is no compute-sanitizer"
    fi
    echo "== done after $SECONDS s"
    exit "$status"
}

mkdir -p "$out"
main 2>&1 | tee "$out/gpu-$date.log"
exit "${PIPESTATUS[0]}"
