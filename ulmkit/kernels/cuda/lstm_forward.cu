// LSTM forward pass, all steps in one launch: each block keeps its rows of W_hh in shared memory, as far as they fit, and
// the blocks of the same sequences synchronise after every step.
//
// A block computes all four gates of `units` units for `rows` sequences. A column of its product is one gate of a unit, in
// the order i, f, g, o, so that the four sums of a unit are neighbours.
//
// ULMKIT_UNITS: even. ULMKIT_ROWS: a multiple of 16. ULMKIT_WARPS: warps of a block. ULMKIT_RESIDENT, ULMKIT_SPILLS,
// ULMKIT_SPLIT, ULMKIT_DEPTH: see Product.

#include "lstm_step.h"
#include "product.h"

constexpr int units = ULMKIT_UNITS, rows = ULMKIT_ROWS, threads = 32 * ULMKIT_WARPS;
constexpr int items = (rows * units + threads - 1) / threads;  // (row, unit) pairs of a thread
using Hidden = Product<rows, 4 * units, ULMKIT_WARPS, ULMKIT_RESIDENT, ULMKIT_SPILLS, ULMKIT_SPLIT,
                       ULMKIT_DEPTH>;

ULMKIT_KERNEL void lstm_forward(Forward a) {
    const Sequences& s = a.sequences;
    const int size = s.hidden_size, unit_blocks = (size + units - 1) / units, blocks_of_k = s.width / 16;
    const int first_unit = block_index() % unit_blocks * units, group = block_index() / unit_blocks;
    const int first_row = group * rows;
    Four* near = (Four*)shared_memory();
    Four* far = a.spilled + (int64)block_index() * (blocks_of_k * Hidden::tiles * 32 - Hidden::near_pieces);
    float* parts = (float*)(shared_memory() + Hidden::near_bytes);
    Hidden::load(near, far, blocks_of_k, a.weights, [&](int column, int k) {
        const int unit = first_unit + column / 4;
        return unit < size ? a.weights + (column % 4 * size + unit) * s.width + k : nullptr;
    });
    float c[items];
    bool mine[items];
#pragma unroll
    for (int item = 0; item < items; ++item) {
        const int place = thread_index() + item * threads;
        const int row = first_row + place / units, unit = first_unit + place % units;
        mine[item] = place < rows * units && unit < size && row < s.batch;
        c[item] = mine[item] ? a.cells[row * size + unit] : 0.0f;
    }
    block_barrier();
    for (int t = 0; t < s.steps; ++t) {
        Gates<Element> input[items];
        int here = anew(thread_index());
#pragma unroll
        for (int item = 0; item < items; ++item) {
            const int place = here + item * threads;
            if (mine[item]) input[item] = load_sums(a, t, first_row + place / units, first_unit + place % units);
        }
        Hidden::multiply(hidden_before(a, t) + (int64)first_row * s.width, s.width, s.batch - first_row, near, far, blocks_of_k,
                         parts);
        block_barrier();
        here = anew(thread_index());
#pragma unroll
        for (int item = 0; item < items; ++item) {
            if (!mine[item]) continue;
            const int place = here + item * threads, row = place / units, unit = place % units;
            const Gates<float> recurrent{Hidden::total(parts, row, 4 * unit), Hidden::total(parts, row, 4 * unit + 1),
                                         Hidden::total(parts, row, 4 * unit + 2), Hidden::total(parts, row, 4 * unit + 3)};
            c[item] = forward_unit(a, t, first_row + row, first_unit + unit, add(to_floats(input[item]), recurrent), c[item]);
        }
        if (t + 1 < s.steps) meet(a.met + group, unit_blocks, (uint32)(t + 1));
    }
}
