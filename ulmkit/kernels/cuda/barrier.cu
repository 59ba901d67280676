// What it costs blocks to wait for each other, which the persistent kernels do after every step: they do nothing else.

#include "primitives.h"

// met: zero at the start. blocks: of the launch.
ULMKIT_KERNEL void meet_often(uint32* met, int blocks, int rounds) {
    for (int round = 1; round <= rounds; ++round) meet(met, (uint32)blocks, (uint32)round);
}
