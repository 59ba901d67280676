// What the paths offer and what they are given: plain structures, filled in by library.py.
#pragma once

#include <cstdint>

// What the compiler knows besides AVX-512: GCC has bf16 from version 10 on, AMX from 11 on.
#if defined(__x86_64__) && __has_include(<avx512bf16intrin.h>)
#define ULMKIT_WITH_AVX512_BF16
#endif
#if defined(ULMKIT_WITH_AVX512_BF16) && (__has_include(<amxtileintrin.h>) || __has_include(<amxintrin.h>))
#define ULMKIT_WITH_AMX
#endif

namespace ulmkit {

// Sequences side by side, the longest first, so that those still running at a step are a prefix.
struct Sequences {
    int64_t steps;           // T
    int64_t batch;           // B
    const int64_t* running;  // [T] how many sequences have a step t; it never grows
    const int64_t* order;    // [B] the place in the batch of each
};

struct Layer {
    int64_t inputs;  // E
    int64_t hidden;  // H
};

// Bytes of what the caller provides.
struct Sizes {
    int64_t forward_weights, backward_weights;
    int64_t inputs, hidden, cells, gates;  // what forward keeps for backward
    int64_t pack_workspace, forward_workspace, backward_workspace;
};

// Weights of float, or for the paths of int8 of bytes with a scale for each row; those have neither mask nor backward.
struct Packing {
    const void* w_ih;          // [4H, E]
    const void* w_hh;          // [4H, H]
    const float* scales_ih;    // [4H]
    const float* scales_hh;    // [4H]
    const uint8_t* keep_bits;  // [4H, ceil(H / 8)], lowest bit first; or null
    float keep_scale;
    void* forward_weights;
    void* backward_weights;  // null if there is no backward
    void* workspace;
};

// Weights of a pass: laid out, or where `laid_out` is null as they are, which the paths of fp32 take for sequences that all
// run to the end, without a mask.
struct Weights {
    const void* laid_out;
    const float* w_ih;  // [4H, E]
    const float* w_hh;  // [4H, H]
};

// What forward keeps for backward; without a backward, `inputs` and `gates` are null. (Without a step `gates` is, too.)
struct Kept {
    void* inputs;   // [N, E padded] the running sequences' inputs, step by step: N rows in all
    void* hidden;   // [B + N, H padded] h_0, then h of every step
    float* cells;   // [B + N, H padded] c_0, then c of every step
    void* gates;    // [N, H / width, 4, width] i, f, g, o
};

struct Forward {
    const void* x;     // [T, B, E]
    const float* h0;   // [B, H]
    const float* c0;   // [B, H]
    const float* bias; // [4H]
    Weights weights;
    Kept kept;
    void* y;     // [T, B, H], not written where a sequence has ended
    float* h_n;  // [B, H]
    float* c_n;  // [B, H]
    void* workspace;
};

struct Backward {
    const void* dy;      // [T, B, H]
    const float* dh_n;   // [B, H]
    const float* dc_n;   // [B, H]
    Weights weights;
    const uint8_t* keep_bits;
    float keep_scale;
    Kept kept;
    void* dx;        // [T, B, E], not written where a sequence has ended; or null
    float* dh0;      // [B, H]; or null, then dc0 too
    float* dc0;      // [B, H]
    float* d_w_ih;   // [4H, E]; or null, then d_w_hh and d_bias too
    float* d_w_hh;   // [4H, H]
    float* d_bias;   // [4H]
    void* workspace;
};

// Softmax cross-entropy of a linear layer; with dx its gradients as well.
struct CrossEntropy {
    int64_t rows, features, classes;  // N, E, and the rows of the weight that are classes
    const void* x;                    // [N, E]
    const float* weight;              // [classes, E]
    const float* bias;                // [classes]; or null
    const int64_t* targets;           // [N]
    float* nll;                       // [N]
    const float* row_weights;         // [N] of each nll in what is differentiated; or null, for ones
    void* dx;                         // [N, E] of the weighted sum of nll, times scale; or null
    float* d_weight;                  // [classes, E]
    float* d_bias;                    // [classes]; or null
    float scale;
    int64_t held_bytes;  // of the logits of a block of rows, about
    void* workspace;
};

// A path of int8 has what comes before `backward` alone.
struct Path {
    const char* name;
    bool (*runs_here)();
    Sizes (*sizes)(Layer, Sequences, bool learns, int threads);  // learns: whether a backward follows
    void (*pack)(Layer, Packing, int threads);
    void (*forward)(Layer, Sequences, Forward, int threads);
    void (*backward)(Layer, Sequences, Backward, int threads);
    int64_t (*cross_entropy_bytes)(CrossEntropy, int threads);  // of its workspace
    void (*cross_entropy)(CrossEntropy, int threads);
    void (*keep_bits)(uint64_t seed, int32_t keep, int64_t bytes, uint8_t* bits, int threads);  // 0 < keep < 2^16
};

}  // namespace ulmkit
