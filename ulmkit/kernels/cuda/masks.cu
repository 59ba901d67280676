// Draws the mask of the recurrent weights, one bit per weight, 1 to keep it; applies it to the weights and their gradient.

#include "block.h"

ULMKIT_INLINE address split_mix(address seed, address number) {
    address z = seed + number * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Draws bits that are 1 with probability keep / 2^16; each thread draws 64. The binary digits of `keep`, lowest first, are
// folded with random bits: random | kept for a 1, random & kept for a 0. The random bits come from SplitMix64 (Steele, Lea
// & Flood 2014), which computes the nth number of a stream directly.
//
// seed: one number on the device. keep: 1 to 2^16 - 1. bits: (words,).
ULMKIT_KERNEL void keep_bits(const address* seed, int keep, int64 words, address* bits) {
    const int64 word = place_of_thread();
    if (word >= words) return;
    address kept = 0;
    for (int digit = 0; digit < 16; ++digit) {
        const address drawn = split_mix(*seed, (address)word * 16 + digit + 1);
        kept = keep >> digit & 1 ? drawn | kept : drawn & kept;
    }
    bits[word] = kept;
}

struct Masked {
    const float* w_hh;               // (4H, H)
    const unsigned char* keep_bits;  // (4H, ceil(H / 8)), or null to keep all
    int64 hidden_size;               // H
    float keep_scale;                // factor of the weights that are kept
};

ULMKIT_INLINE float masked(const Masked& a, const float* from, int64 row, int64 column) {
    const float weight = from[row * a.hidden_size + column];
    if (a.keep_bits == nullptr) return weight;
    const int byte = a.keep_bits[row * ((a.hidden_size + 7) / 8) + column / 8];
    return byte >> column % 8 & 1 ? weight * a.keep_scale : 0.0f;
}

// Writes the masked weights to (4H, width), with zeros in columns from H on. One thread per value.
ULMKIT_KERNEL void mask_weights(Masked a, int64 width, Element* to) {
    const int64 place = place_of_thread(), row = place / width, column = place % width;
    if (row >= 4 * a.hidden_size) return;
    to[place] = to_element(column < a.hidden_size ? masked(a, a.w_hh, row, column) : 0.0f);
}

constexpr int tile = 32;

// Writes the transpose of the masked weights to (H, width), with zeros in columns from 4H on. One block per tile, in
// row-major order of the tiles of W_hh.
ULMKIT_KERNEL void mask_weights_transposed(Masked a, int64 width, Element* to) {
    Element(*const numbers)[tile + 1] = (Element(*)[tile + 1])shared_memory();
    const int64 tiles = (a.hidden_size + tile - 1) / tile;
    const int64 first_row = block_index() / tiles * tile, first_column = block_index() % tiles * tile;
    for (int place = thread_index(); place < tile * tile; place += thread_count()) {
        const int64 row = first_row + place / tile, column = first_column + place % tile;
        const bool is_weight = row < 4 * a.hidden_size && column < a.hidden_size;
        numbers[place % tile][place / tile] = to_element(is_weight ? masked(a, a.w_hh, row, column) : 0.0f);
    }
    block_barrier();
    for (int place = thread_index(); place < tile * tile; place += thread_count()) {
        const int64 column = first_column + place / tile, row = first_row + place % tile;
        if (column < a.hidden_size && row < width) to[column * width + row] = numbers[place / tile][place % tile];
    }
}

// Masks dW_hh (4H, H) in place. One thread per value.
ULMKIT_KERNEL void mask_gradient(Masked a, float* gradient) {
    const int64 place = place_of_thread(), row = place / a.hidden_size, column = place % a.hidden_size;
    if (row < 4 * a.hidden_size) gradient[place] = masked(a, gradient, row, column);
}
