// Interface of the paths: functions, and arguments as plain structures that library.py fills in.
#pragma once

#include <cstdint>

// Instruction sets that the compiler supports: GCC has AVX-512 bf16 since version 10 and AMX since 11.
#if defined(__x86_64__) && __has_include(<avx512bf16intrin.h>)
#define ULMKIT_WITH_AVX512_BF16
#endif
#if defined(ULMKIT_WITH_AVX512_BF16) && (__has_include(<amxtileintrin.h>) || __has_include(<amxintrin.h>))
#define ULMKIT_WITH_AMX
#endif

namespace ulmkit {

// Sequences sorted by length, the longest first, so that those still running at a step are a prefix.
struct Sequences {
    int64_t steps;           // T
    int64_t batch;           // B
    const int64_t* running;  // [T] number of sequences that have a step t; never increases
    const int64_t* order;    // [B] position of each in the batch
};

struct Layer {
    int64_t inputs;  // E
    int64_t hidden;  // H
};

// Bytes of the buffers that the caller provides.
struct Sizes {
    int64_t forward_weights, backward_weights;
    int64_t inputs, hidden, cells, gates;  // kept by forward for backward
    int64_t pack_workspace, forward_workspace, backward_workspace;
};

// Weights to pack: fp32, or int8 with a scale for each row for int8 paths, which have neither mask nor backward.
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

// Weights of a pass: packed, or unpacked if `laid_out` is null, which fp32 paths accept without a mask and for sequences of
// equal length.
struct Weights {
    const void* laid_out;
    const float* w_ih;  // [4H, E]
    const float* w_hh;  // [4H, H]
};

// Values that forward keeps for backward. Without a backward `inputs` and `gates` are null; without a step `gates` is too.
struct Kept {
    void* inputs;   // [N, E padded] inputs of the running sequences, step by step, N rows in total
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

// Softmax cross-entropy of a linear layer, with gradients if dx is not null.
struct CrossEntropy {
    int64_t rows, features, classes;  // N, E, number of classes
    const void* x;                    // [N, E]
    const float* weight;              // [classes, E]
    const float* bias;                // [classes]; or null
    const int64_t* targets;           // [N]
    float* nll;                       // [N]
    const float* row_weights;         // [N] weight of each row in the differentiated sum; or null for ones
    void* dx;                         // [N, E] gradient of the weighted sum of nll, times scale; or null
    float* d_weight;                  // [classes, E]
    float* d_bias;                    // [classes]; or null
    float scale;
    int64_t held_bytes;  // approximate bytes of logits in a block of rows
    void* workspace;
};

// A pass over documents that changes their vectors and those of their n-grams.
struct DocumentVectors {
    int64_t documents, size, noise_size;  // D; V, a multiple of 16; G
    const int64_t* offsets;               // [D + 1] where the n-grams of each document begin
    const int32_t* features;              // [offsets[D]] n-grams of the documents, each once a document
    const int32_t* counts;                // [offsets[D]] how often a document has each
    const float* keep;                    // [features] probability that a token of the n-gram is learned from
    const int32_t* noise;                 // [G] n-grams, to draw from
    float* document_vectors;              // [D, V]
    float* feature_vectors;               // [features, V]
    int64_t* order;                       // [D], workspace
    int32_t* tokens;                      // [most tokens of a document], workspace
    float noise_weight, first_rate, last_rate;
    uint64_t seed;
};

// Functions of a path; int8 paths have only those before `backward`.
struct Path {
    const char* name;
    bool (*runs_here)();
    Sizes (*sizes)(Layer, Sequences, bool requires_grad, int threads);  // requires_grad: whether a backward follows
    void (*pack)(Layer, Packing, int threads);
    void (*forward)(Layer, Sequences, Forward, int threads);
    void (*backward)(Layer, Sequences, Backward, int threads);
    int64_t (*cross_entropy_bytes)(CrossEntropy, int threads);  // bytes of its workspace
    void (*cross_entropy)(CrossEntropy, int threads);
    void (*keep_bits)(uint64_t seed, int32_t keep, int64_t bytes, uint8_t* bits, int threads);  // 0 < keep < 2^16
    void (*document_vectors)(DocumentVectors);
};

}  // namespace ulmkit
