"""Our own kernels for CPUs: C++ without torch's or Python's headers, and how they are called.

A `path_*.cpp` is everything for one set of instructions and one type, in a namespace of its own. It includes `path.h`,
which puts the pieces in order: `vectors.h`, an engine (`engine_*.h`: matrix products, and how their operands are laid
out), and on it `lstm_*.h` and `cross_entropy.h`. `library.cpp` has the functions that `library.py` calls;
`fused_lstm.py` and `fused_cross_entropy.py` are what torch differentiates. `kernels.h` says what goes in and out, with
shapes.
"""
