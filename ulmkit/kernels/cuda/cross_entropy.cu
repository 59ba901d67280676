// Softmax cross-entropy of rows of logits; optionally the gradients replace the logits. One block per row.
//
// The logits are read twice: first for the largest and the sum of e^(x - largest), both in one pass, then for the gradient,
// w (softmax - one_hot(target)).

#include "block.h"

// Elements that a thread reads at once.
constexpr int several = 16 / sizeof(Element);
struct alignas(16) Several {
    Element of[several];
};
struct alignas(16) FourFloats {
    float of[4];
};

struct Logits {
    Element* logits;           // (N, width) x W^T; then their gradients
    const float* bias;         // (at least classes,), aligned to 16 bytes; or null
    const int64* targets;      // (N,)
    const float* row_weights;  // (N,) w of each row, or null for 1
    float* nll;                // (N,); NaN where the target is not a class
    int64 width, classes;      // width: a multiple of `several`; columns from `classes` on have probability 0
    int gradients;             // nonzero to replace the logits by their gradients
};

// The largest of some logits, and their sum of e^(x - largest).
struct Total {
    float largest, sum;
};

constexpr float lowest = -3.4e38f;

ULMKIT_INLINE float larger(float a, float b) { return a > b ? a : b; }

ULMKIT_INLINE Total merge(const Total& a, const Total& b) {
    const float largest = larger(a.largest, b.largest);
    return {largest, a.sum * exp_of_negative(a.largest - largest) + b.sum * exp_of_negative(b.largest - largest)};
}

// Adds the bias to `several` logits of a row, from `first_column` on; columns that are not classes become `lowest`.
ULMKIT_INLINE void add_bias(const Logits& a, const Several& values, int64 first_column, float (&x)[several]) {
#pragma unroll
    for (int n = 0; n < several; n += 4) {
        const int64 column = first_column + n;
        FourFloats bias{};
        if (a.bias != nullptr && column + 3 < a.classes)
            bias = *(const FourFloats*)(a.bias + column);
        else if (a.bias != nullptr)
            for (int place = 0; place < 4; ++place)
                if (column + place < a.classes) bias.of[place] = a.bias[column + place];
#pragma unroll
        for (int place = 0; place < 4; ++place)
            x[n + place] = column + place < a.classes ? to_float(values.of[n + place]) + bias.of[place] : lowest;
    }
}

ULMKIT_INLINE Total total(const float (&x)[several]) {
    Total found{lowest, 0.0f};
#pragma unroll
    for (int n = 0; n < several; ++n) found.largest = larger(x[n], found.largest);
#pragma unroll
    for (int n = 0; n < several; ++n) found.sum += exp_of_negative(x[n] - found.largest);
    return found;
}

ULMKIT_KERNEL void softmax_rows(Logits a) {
    const int64 row = block_index(), target = a.targets[row];
    Several* line = (Several*)(a.logits + row * a.width);
    Total mine{lowest, 0.0f};
    float x[several];
    for (int64 piece = thread_index(); piece * several < a.classes; piece += thread_count()) {
        add_bias(a, line[piece], piece * several, x);
        mine = merge(mine, total(x));
    }
    const Total all = combined(mine, merge);
    const bool is_class = 0 <= target && target < a.classes;
    if (thread_index() == 0) {
        float of_target = 0.0f;
        if (is_class) {
            of_target = to_float(line[target / several].of[target % several]);
            if (a.bias != nullptr) of_target += a.bias[target];
        }
        const float log_sum = natural_log(is_class ? all.sum : -1.0f);  // the logarithm of -1 is NaN
        a.nll[row] = log_sum + (all.largest - of_target);
    }
    if (!a.gradients) return;
    block_barrier();  // the target's logit must have been read before it is overwritten
    const float weight = a.row_weights == nullptr ? 1.0f : a.row_weights[row], scale = weight / all.sum;
    for (int64 piece = thread_index(); piece * several < a.width; piece += thread_count()) {
        add_bias(a, line[piece], piece * several, x);
        Several gradients;
#pragma unroll
        for (int n = 0; n < several; ++n) {
            const int64 column = piece * several + n;
            float gradient = 0.0f;
            if (column < a.classes) {
                gradient = scale * exp_of_negative(x[n] - all.largest);
                if (column == target) gradient -= weight;
            }
            gradients.of[n] = to_element(gradient);
        }
        line[piece] = gradients;
    }
}
