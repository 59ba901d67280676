// The product that the persistent kernels make at every step: rows of a matrix that changes times columns that stay, those of
// the first values of k in shared memory and, where that does not hold all, the rest in the GPU's own memory and its cache.
//
// A block has `rows` rows and `columns` columns. Its warps share the sum: each makes the part of some values of k for all of
// the block's rows and columns, from what it alone reads of the rows; or for a half of the columns, where all would be too
// many for its registers. Half of the warps leave their parts in shared memory, the other half add theirs, and whoever wants
// a number adds up what is there.

#pragma once

#include "primitives.h"

// resident: blocks of 16 values of k whose columns are in shared memory; spills: whether there are others. split: 1, or 2
// where a warp has half of the columns. depth: blocks of k whose rows a warp has in registers or under way there: what comes
// from the cache of the whole GPU takes as long as several products.
template <int rows, int columns, int warps, int resident, bool spills, int split, int depth>
struct Product {
    static constexpr int tiles = columns / 8, own_tiles = tiles / split, bands = rows / 16, threads = 32 * warps;
    static constexpr int sharers = warps / split, halves = sharers / 2;  // sharers: warps of the same columns
    static constexpr int line = columns % 16 == 8 ? columns : columns + 8;  // a warp's stores fall into different banks
    static constexpr int round = depth == 2 ? 1 : depth;  // blocks of k before places are used again
    static_assert(columns % (8 * split) == 0 && rows % 16 == 0 && warps % (2 * split) == 0, "whole tiles, pairs of warps");

    // The columns as they are multiplied, [k / 16][tiles][lane], a lane's four values each. These are neighbours in k and
    // stand for its two pairs: any order of k will do, if the rows' values come in the same.
    // place(column, k): of four values of the block's column, null for zeros, where `anything` is read in vain. near: shared
    // memory; far: what it does not hold.
    template <class Place>
    ULMKIT_INLINE static void load(Four* near, Four* far, int blocks, const Element* anything, Place place) {
        constexpr int together = 8;  // loads under way
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

    // All threads call it; what it writes may be read after a barrier. from: first of `count` rows of `width` elements;
    // those of the block that are not there repeat the last. blocks: of 16 values of k. parts: [halves][rows][line].
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
        // Each takes every `sharers`-th block of k, and so its share of those that are not in shared memory.
        uint32 left[depth][bands][4];
#pragma unroll
        for (int n = 0; n < round; ++n)
            if (warp + n * sharers < blocks) load_left(left[n], line_of, warp + n * sharers);
#pragma unroll 1
        for (int first = warp; first < blocks; first += round * sharers) {
            if (depth == 2) {  // handed on, which takes the fewest registers; but of more it would wait for those under way
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

    // One number of the product, from all warps' parts.
    ULMKIT_INLINE static float total(const float* parts, int row, int column) {
        float sum = 0.0f;
#pragma unroll
        for (int half = 0; half < halves; ++half) sum += parts[(half * rows + row) * line + column];
        return sum;
    }

    static constexpr int near_pieces = resident * tiles * 32, near_bytes = near_pieces * 8;
    static constexpr int parts_bytes = halves * rows * line * 4;

private:
    // A warp's product of one block of k, added to its sums.
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

    // A warp's numbers, each lane's where multiply_accumulate has them; with `adds` to what is there.
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
