// The recurrent mask: a bit for each weight, 1 where it is kept. Drawn, applied to the weights, and to their gradient.

#include "block.h"

ULMKIT_INLINE address split_mix(address seed, address number) {
    address z = seed + number * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Bits that are 1 with probability keep / 2^16; a thread draws 64 of them. The probability's binary digits, lowest first, are
// folded with random bits: random | kept for a 1, random & kept for a 0. Random bits: the numbers of SplitMix64 (Steele, Lea
// & Flood 2014), each found by its place.
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

// W_hh (4H, H) float, its mask (4H, ceil(H / 8)) or null to keep all, and what is kept is multiplied with.
struct Masked {
    const float* w_hh;
    const unsigned char* keep_bits;
    int64 hidden_size;
    float keep_scale;
};

ULMKIT_INLINE float masked(const Masked& a, const float* from, int64 row, int64 column) {
    const float weight = from[row * a.hidden_size + column];
    if (a.keep_bits == nullptr) return weight;
    const int byte = a.keep_bits[row * ((a.hidden_size + 7) / 8) + column / 8];
    return byte >> column % 8 & 1 ? weight * a.keep_scale : 0.0f;
}

// To (4H, width), zero from H on. A thread has one number.
ULMKIT_KERNEL void mask_weights(Masked a, int64 width, Element* to) {
    const int64 place = place_of_thread(), row = place / width, column = place % width;
    if (row >= 4 * a.hidden_size) return;
    to[place] = to_element(column < a.hidden_size ? masked(a, a.w_hh, row, column) : 0.0f);
}

constexpr int tile = 32;

// To (H, width), the transpose, zero from 4H on. A block has a tile of numbers; tiles along H first.
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

// dW_hh (4H, H) in place.
ULMKIT_KERNEL void mask_gradient(Masked a, float* gradient) {
    const int64 place = place_of_thread(), row = place / a.hidden_size, column = place % a.hidden_size;
    if (row < 4 * a.hidden_size) gradient[place] = masked(a, gradient, row, column);
}
