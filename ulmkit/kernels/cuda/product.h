// Matrix product of the persistent kernels at every step: rows that change (states) times columns that stay (weights). The
// weights of the first values of k are in shared memory; those that do not fit are in global memory.
//
// A block computes `rows` x `columns`. Its warps split k, so that each reads different values of the rows and no state is
// read twice; they split the columns too only where the sums of all would not fit a warp's registers. Loads of the next
// rows start before the current ones are multiplied, because the L2 cache takes as long as several products. At the end
// half of the warps store their partial sums in shared memory and the others add theirs, which halves the memory needed.

#pragma once

#include "primitives.h"

// resident: number of blocks of 16 values of k whose columns are in shared memory
// spills: whether there are others
// split: 1, or 2 where a warp has half of the columns
// depth: number of blocks of k whose rows a warp holds in registers or has requested
template <int rows, int columns, int warps, int resident, bool spills, int split, int depth>
struct Product {
    static constexpr int tiles = columns / 8, own_tiles = tiles / split, bands = rows / 16, threads = 32 * warps;
    static constexpr int sharers = warps / split, halves = sharers / 2;  // sharers: warps of the same columns
    static constexpr int line = columns % 16 == 8 ? columns : columns + 8;  // a warp's stores fall into different banks
    static constexpr int round = depth == 2 ? 1 : depth;  // blocks of k until registers are reused
    static_assert(columns % (8 * split) == 0 && rows % 16 == 0 && warps % (2 * split) == 0, "whole tiles, pairs of warps");

    // Loads the columns in the order of the products, [k / 16][tiles][lane], four values for each lane. These four are
    // neighbours in k although the instruction expects two pairs 8 apart: any order of k gives the same sum if the rows
    // are read in the same order, and neighbours are one load.
    // place(column, k): address of four values of a column, null for zeros, for which `anything` is read and dropped
    // near: shared memory; far: global memory for what does not fit
    template <class Place>
    ULMKIT_INLINE static void load(Four* near, Four* far, int blocks, const Element* anything, Place place) {
        constexpr int together = 8;  // loads in flight
        const int pieces = blocks * tiles * 32;
        for (int first = thread_index(); first < pieces; first += together * threads) {
            Four read[together];
#pragma unroll
            for (int n = 0; n < together; ++n) {
                const int piece = first + n * threads, lane = piece % 32, column = piece / 32 % tiles * 8 + lane / 4;
                const Element* from = piece < pieces ? place(column, piece / (32 * tiles) * 16 + lane % 4 * 4) : nullptr;
                const Four four = load_steady(from == nullptr ? anything : from);
                read[n] = from == nullptr ? Four{0, 0} : four;
            }
#pragma unroll
            for (int n = 0; n < together; ++n) {
                const int piece = first + n * threads;
                if (piece >= pieces) continue;
                if (!spills || piece < near_pieces)
                    near[piece] = read[n];
                else
                    far[piece - near_pieces] = read[n];
            }
        }
    }

    // Multiplies; called by all threads, and a barrier must follow before the result is read.
    // from: (count, width) rows; the block's rows beyond them repeat the last
    // blocks: number of blocks of 16 values of k
    // parts: (halves, rows, line) partial sums
    ULMKIT_INLINE static void multiply(const Element* from, int width, int count, const Four* near, const Four* far,
                                       int blocks, float* parts) {
        const int warp = thread_index() / 32 % sharers, lane = thread_index() % 32;
        const int first_tile = thread_index() / 32 / sharers * own_tiles;
        const Element* line_of[bands][2];
#pragma unroll
        for (int n = 0; n < 2 * bands; ++n) {
            const int row = n * 8 + lane / 4;
            line_of[n / 2][n % 2] = from + (int64)(row < count ? row : count - 1) * width + lane % 4 * 4;
        }
        float sum[bands][own_tiles][4] = {};
        // Blocks of k are interleaved among the warps, so that each has its share of the slow ones in global memory.
        uint32 left[depth][bands][4];
#pragma unroll
        for (int n = 0; n < round; ++n)
            if (warp + n * sharers < blocks) load_left(left[n], line_of, warp + n * sharers);
#pragma unroll 1
        for (int first = warp; first < blocks; first += round * sharers) {
            if (depth == 2) {  // copying needs the fewest registers; with more depth it would wait for pending loads
                if (first + sharers < blocks) load_left(left[1], line_of, first + sharers);
                multiply_block(sum, left[0], near, far, first, first_tile);
#pragma unroll
                for (int band = 0; band < bands; ++band)
#pragma unroll
                    for (int n = 0; n < 4; ++n) left[0][band][n] = left[1][band][n];
                continue;
            }
#pragma unroll
            for (int n = 0; n < depth; ++n) {
                const int block = first + n * sharers, later = block + depth * sharers;
                if (block >= blocks) continue;
                multiply_block(sum, left[n], near, far, block, first_tile);
                if (later < blocks) load_left(left[n], line_of, later);
            }
        }
        if (warp >= halves) store<false>(sum, parts + (warp - halves) * rows * line + first_tile * 8);
        block_barrier();
        if (warp < halves) store<true>(sum, parts + warp * rows * line + first_tile * 8);
    }

    // Returns one element of the product, the sum over the partial sums.
    ULMKIT_INLINE static float total(const float* parts, int row, int column) {
        float sum = 0.0f;
#pragma unroll
        for (int half = 0; half < halves; ++half) sum += parts[(half * rows + row) * line + column];
        return sum;
    }

    static constexpr int near_pieces = resident * tiles * 32, near_bytes = near_pieces * 8;
    static constexpr int parts_bytes = halves * rows * line * 4;

private:
    // Adds a warp's product of one block of k to its sums.
    ULMKIT_INLINE static void multiply_block(float (&sum)[bands][own_tiles][4], const uint32 (&left)[bands][4], const Four* near,
                                             const Four* far, int block, int first_tile) {
#pragma unroll
        for (int tile = 0; tile < own_tiles; ++tile) {
            const int piece = (block * tiles + first_tile + tile) * 32 + thread_index() % 32;
            const Four right = !spills || block < resident ? near[piece] : far[piece - near_pieces];
#pragma unroll
            for (int band = 0; band < bands; ++band) multiply_accumulate(sum[band][tile], left[band], right);
        }
    }

    ULMKIT_INLINE static void load_left(uint32 (&left)[bands][4], const Element* (&line_of)[bands][2], int block) {
#pragma unroll
        for (int band = 0; band < bands; ++band) {
            const Four upper = load_fresh(line_of[band][0] + block * 16), lower = load_fresh(line_of[band][1] + block * 16);
            left[band][0] = upper.low;
            left[band][1] = lower.low;
            left[band][2] = upper.high;
            left[band][3] = lower.high;
        }
    }

    // Stores a warp's sums, or adds them to what is stored; multiply_accumulate defines the place of each lane's values.
    template <bool adds>
    ULMKIT_INLINE static void store(const float (&sum)[bands][own_tiles][4], float* part) {
        const int lane = thread_index() % 32;
#pragma unroll
        for (int band = 0; band < bands; ++band)
#pragma unroll
            for (int tile = 0; tile < own_tiles; ++tile)
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    const int row = band * 16 + n / 2 * 8 + lane / 4, column = tile * 8 + lane % 4 * 2 + n % 2;
                    float& to = part[row * line + column];
                    to = adds ? to + sum[band][tile][n] : sum[band][tile][n];
                }
    }
};
