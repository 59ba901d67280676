#!/usr/bin/env bash
# Downloads wheels of the peers in benchmarks/gpu.sh, for a machine with torch and without a network.
#
#     benchmarks/peer_wheels.sh FOLDER [PYTHON_VERSION]
#
# Leaves out torch, NumPy, scikit-learn and their dependencies.
set -euo pipefail
folder=${1:?which folder}
version=${2:-3.12}
python3 -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux2014_x86_64 \
    --platform manylinux_2_28_x86_64 --python-version "$version" --dest "$folder" \
    fastai==2.8.12 fastcore fasttransform fastdownload fastprogress python-fasthtml starlette anyio itsdangerous \
    python-multipart plum-dispatch==2.9.0 beartype rich cloudpickle dill matplotlib contourpy cycler fonttools kiwisolver \
    pyparsing python-dateutil pandas pytz pillow pyyaml requests urllib3 idna certifi charset-normalizer \
    flashrnn==1.0.8 einops ninja
du -sh "$folder"
