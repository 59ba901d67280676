// Random bits that are 1 with probability keep / 2^16, one for each weight; a thread draws 64 of them.
//
// The probability's binary digits, lowest first, are folded with random bits: random | kept for a 1, random & kept for a 0.
// Random bits: the numbers of SplitMix64 (Steele, Lea & Flood 2014), each found by its place.

#include "primitives.h"

ULMKIT_INLINE address split_mix(address seed, address number) {
    address z = seed + number * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// seed: one number on the device. keep: 1 to 2^16 - 1. bits: (words,).
ULMKIT_KERNEL void keep_bits(const address* seed, int keep, int64 words, address* bits) {
    const int64 word = (int64)block_index() * thread_count() + thread_index();
    if (word >= words) return;
    address kept = 0;
    for (int digit = 0; digit < 16; ++digit) {
        const address drawn = split_mix(*seed, (address)word * 16 + digit + 1);
        kept = keep >> digit & 1 ? drawn | kept : drawn & kept;
    }
    bits[word] = kept;
}
