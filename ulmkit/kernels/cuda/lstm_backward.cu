// LSTM backward pass, all steps in one launch: dh_{t-1} = da_t W_hh, a sum over 4H.
//
// A block computes `units` units for `rows` sequences. The sum is four times as long as in the forward pass, so the blocks
// of a cluster divide it: each keeps the rows of W_hh for its part of the gates and for all units of the cluster, reads
// only that part of da, and finally adds up the partial sums of all blocks for its own units.
//
// ULMKIT_UNITS: units x cluster is a multiple of 8. ULMKIT_ROWS: a multiple of 16. ULMKIT_WARPS: warps of a block.
// ULMKIT_RESIDENT, ULMKIT_SPILLS, ULMKIT_SPLIT, ULMKIT_DEPTH: see Product. ULMKIT_CLUSTER: blocks of a cluster, 1 for none.

#include "lstm_step.h"
#include "product.h"

constexpr int units = ULMKIT_UNITS, rows = ULMKIT_ROWS, threads = 32 * ULMKIT_WARPS, cluster = ULMKIT_CLUSTER;
constexpr int columns = units * cluster, items = (rows * units + threads - 1) / threads;
using Gradient = Product<rows, columns, ULMKIT_WARPS, ULMKIT_RESIDENT, ULMKIT_SPILLS, ULMKIT_SPLIT,
                         ULMKIT_DEPTH>;

ULMKIT_KERNEL void lstm_backward(Backward a) {
    const Sequences& s = a.sequences;
    const int size = s.hidden_size, blocks_of_k = s.gates_width / 16;
    const int unit_blocks = (size + columns - 1) / columns * cluster;
    const int block = block_index() % unit_blocks, part = block % cluster, group = block_index() / unit_blocks;
    const int first_unit = block * units, first_column = (block - part) * units;
    const int first_k = blocks_of_k * part / cluster, last_k = blocks_of_k * (part + 1) / cluster;
    const int first_row = group * rows;
    Four* near = (Four*)shared_memory();
    const int most_blocks = (blocks_of_k + cluster - 1) / cluster;  // most blocks of k of a part
    Four* far = a.spilled + (int64)block_index() * (most_blocks * Gradient::tiles * 32 - Gradient::near_pieces);
    float* parts = (float*)(shared_memory() + Gradient::near_bytes);
    float* totals = parts + Gradient::parts_bytes / 4;  // (rows, columns), used with a cluster only
    Gradient::load(near, far, last_k - first_k, a.weights, [&](int column, int k) {
        const int unit = first_column + column;
        return unit < size ? a.weights + (int64)unit * s.gates_width + first_k * 16 + k : nullptr;
    });
    States<float> d[items];
    Stored stored[items];
    float c_after[items];
    bool mine[items];
#pragma unroll
    for (int item = 0; item < items; ++item) {
        const int place = thread_index() + item * threads;
        const int row = first_row + place / units, unit = first_unit + place % units;
        mine[item] = place < rows * units && unit < size && row < s.batch;
        if (!mine[item]) continue;
        d[item] = {a.dc[row * size + unit], a.dh[row * size + unit]};
        stored[item] = load_stored(a, s.steps - 1, row, unit);
        c_after[item] = a.cells[steps_before(s, s.steps, size) + row * size + unit];
    }
    block_barrier();
    uint32 round = 0;
    for (int t = s.steps - 1; t >= 0; --t) {
        int here = anew(thread_index());
#pragma unroll
        for (int item = 0; item < items; ++item) {
            const int place = here + item * threads;
            const int row = first_row + place / units, unit = first_unit + place % units;
            if (!mine[item]) continue;
            backward_unit(a, t, row, unit, stored[item], c_after[item], d[item]);
            c_after[item] = stored[item].c;
        }
        meet(a.met + group, unit_blocks, ++round);
        here = anew(thread_index());
#pragma unroll
        for (int item = 0; item < items; ++item) {
            const int place = here + item * threads;
            if (mine[item] && t > 0)
                stored[item] = load_stored(a, t - 1, first_row + place / units, first_unit + place % units);
        }
        Gradient::multiply(a.d_gates + steps_before(s, t, s.gates_width) + (int64)first_row * s.gates_width + first_k * 16,
                           s.gates_width, s.batch - first_row, near, far, last_k - first_k, parts);
        block_barrier();
#if ULMKIT_CLUSTER > 1
        for (int place = thread_index(); place < rows * columns; place += threads)
            totals[place] = Gradient::total(parts, place / columns, place % columns);
        cluster_barrier();
#endif
        here = anew(thread_index());
#pragma unroll
        for (int item = 0; item < items; ++item) {
            if (!mine[item]) continue;
            const int place = here + item * threads, row = place / units, unit = place % units;
#if ULMKIT_CLUSTER > 1
#pragma unroll
            for (int other = 0; other < cluster; ++other)
                d[item].h += load_of_cluster(totals + row * columns + part * units + unit, other);
#else
            d[item].h += Gradient::total(parts, row, unit);
#endif
        }
    }
#if ULMKIT_CLUSTER > 1
    cluster_barrier();  // no block ends while another reads its memory
#endif
#pragma unroll
    for (int item = 0; item < items; ++item) {
        if (!mine[item]) continue;
        const int place = thread_index() + item * threads;
        const int cell = (first_row + place / units) * size + first_unit + place % units;
        a.dc[cell] = d[item].c;
        a.dh[cell] = d[item].h;
    }
}
