// The LSTM backward in time, all steps in one launch, as the forward: dh_{t-1} = da_t W_hh, whose sum is over 4H.
//
// A block has `units` units of `rows` sequences. The blocks of a cluster share the sum: each keeps the rows of W_hh of its
// part of the gates, for the columns of all of the cluster's units, and reads that part of da alone; then each adds up
// what all of them have for its own units.
//
// ULMKIT_UNITS: units x cluster a multiple of 8. ULMKIT_ROWS: a multiple of 16. ULMKIT_WARPS: of a block.
// ULMKIT_RESIDENT, ULMKIT_SPLIT: see Product. ULMKIT_CLUSTER: blocks of a cluster, 1 for none.

#include "lstm_step.h"
#include "product.h"

constexpr int units = ULMKIT_UNITS, rows = ULMKIT_ROWS, threads = 32 * ULMKIT_WARPS, cluster = ULMKIT_CLUSTER;
constexpr int columns = units * cluster, items = (rows * units + threads - 1) / threads;
using Gradient = Product<rows, columns, ULMKIT_WARPS, ULMKIT_RESIDENT, ULMKIT_SPLIT>;

ULMKIT_KERNEL void lstm_backward(Backward a) {
    const Sequences& s = a.sequences;
    const int64 size = s.hidden_size;
    const int unit_blocks = (int)((size + columns - 1) / columns) * cluster, blocks_of_k = (int)(s.gates_width / 16);
    const int block = block_index() % unit_blocks, part = block % cluster, group = block_index() / unit_blocks;
    const int first_unit = block * units, first_column = (block - part) * units;
    const int first_k = blocks_of_k * part / cluster, last_k = blocks_of_k * (part + 1) / cluster;
    const int64 first_row = (int64)group * rows;
    Four* near = (Four*)shared_memory();
    const int most_blocks = (blocks_of_k + cluster - 1) / cluster;  // of k, of any part
    Four* far = a.spilled + (int64)block_index() * (most_blocks * Gradient::tiles * 32 - Gradient::near_pieces);
    float* parts = (float*)(shared_memory() + Gradient::near_bytes);
    float* totals = parts + Gradient::parts_bytes / 4;  // [rows][columns], with a cluster alone
    Gradient::load(near, far, last_k - first_k, [&](int column, int k) {
        const int64 unit = first_column + column, row = first_k * 16 + k;
        const bool is_weight = unit < size && row < 4 * size;
        return to_element(is_weight ? kept(a.w_hh, a.keep_bits, a.keep_scale, size, row, unit) : 0.0f);
    });
    States<float> d[items];
    bool mine[items];
#pragma unroll
    for (int item = 0; item < items; ++item) {
        const int place = thread_index() + item * threads, unit = first_unit + place % units;
        const int64 row = first_row + place / units;
        mine[item] = place < rows * units && unit < size && row < s.batch;
        if (mine[item]) d[item] = {a.dc[row * size + unit], a.dh[row * size + unit]};
    }
    block_barrier();
    uint32 round = 0;
    for (int64 t = s.steps - 1; t >= 0; --t) {
#pragma unroll
        for (int item = 0; item < items; ++item) {
            const int place = thread_index() + item * threads;
            if (mine[item]) backward_unit(a, t, first_row + place / units, first_unit + place % units, d[item]);
        }
        meet(a.met + group, unit_blocks, ++round);
        Gradient::multiply(a.d_gates + (t * s.batch + first_row) * s.gates_width + first_k * 16, s.gates_width,
                           s.batch - first_row, near, far, last_k - first_k, parts);
        block_barrier();
#if ULMKIT_CLUSTER > 1
        for (int place = thread_index(); place < rows * columns; place += threads)
            totals[place] = Gradient::total(parts, place / columns, place % columns);
        cluster_barrier();
#endif
#pragma unroll
        for (int item = 0; item < items; ++item) {
            if (!mine[item]) continue;
            const int place = thread_index() + item * threads, row = place / units, unit = place % units;
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
        const int64 cell = (first_row + place / units) * size + first_unit + place % units;
        a.dc[cell] = d[item].c;
        a.dh[cell] = d[item].h;
    }
}
