// Benchmark of the barrier between blocks, which the persistent kernels pass after every step.

#include "primitives.h"

// met: counter, zero at the start. blocks: number of blocks in the launch.
ULMKIT_KERNEL void meet_often(uint32* met, int blocks, int rounds) {
    for (int round = 1; round <= rounds; ++round) meet(met, (uint32)blocks, (uint32)round);
}
