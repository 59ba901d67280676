// Softmax cross-entropy of rows of logits, and its gradient in their place. A block has one row, and a power of two of threads.
//
// The logits are read twice: once for the largest and the sum of all e^(x - largest), kept together by each thread as it goes;
// and once for the gradient, w (softmax - one_hot(target)).

#include "primitives.h"

// Elements that a thread reads at once.
constexpr int several = 16 / sizeof(Element);
struct alignas(16) Several {
    Element of[several];
};

struct Logits {
    Element* logits;           // (N, width) x W^T; then their gradients
    const float* bias;         // (columns,) or null
    const int64* targets;      // (N,)
    const float* row_weights;  // (N,) w of each row, or null if all have `weight`
    float* nll;                // (N,); not a number where the target is no class
    int64 width, classes;      // width: a multiple of `several`; columns from `classes` on have probability 0
    float weight;
    int gradients;             // whether they are wanted
};

// Of some logits: the largest, and the sum of e^(x - largest).
struct Total {
    float largest, sum;
};

constexpr float lowest = -3.4e38f;

ULMKIT_INLINE float larger(float a, float b) { return a > b ? a : b; }

ULMKIT_INLINE Total merge(const Total& a, const Total& b) {
    const float largest = larger(a.largest, b.largest);
    return {largest, a.sum * exp_of_negative(a.largest - largest) + b.sum * exp_of_negative(b.largest - largest)};
}

ULMKIT_INLINE float logit(const Logits& a, Element value, int64 column) {
    return to_float(value) + (a.bias == nullptr ? 0.0f : a.bias[column]);
}

// Some of a row's logits.
ULMKIT_INLINE Total total(const Logits& a, const Several& values, int64 first_column) {
    float x[several];
    Total found{lowest, 0.0f};
#pragma unroll
    for (int n = 0; n < several; ++n) {
        x[n] = first_column + n < a.classes ? logit(a, values.of[n], first_column + n) : lowest;
        found.largest = larger(x[n], found.largest);
    }
#pragma unroll
    for (int n = 0; n < several; ++n) found.sum += exp_of_negative(x[n] - found.largest);
    return found;
}

ULMKIT_KERNEL void softmax_rows(Logits a) {
    const int64 row = block_index(), target = a.targets[row];
    Several* line = (Several*)(a.logits + row * a.width);
    Total mine{lowest, 0.0f};
    for (int64 piece = thread_index(); piece * several < a.classes; piece += thread_count())
        mine = merge(mine, total(a, line[piece], piece * several));
    Total* totals = (Total*)shared_memory();
    totals[thread_index()] = mine;
    for (int half = thread_count() / 2; half > 0; half /= 2) {
        block_barrier();
        if (thread_index() < half) totals[thread_index()] = merge(totals[thread_index()], totals[thread_index() + half]);
    }
    block_barrier();
    const Total all = totals[0];
    const bool is_class = 0 <= target && target < a.classes;
    if (thread_index() == 0) {
        const float x = is_class ? logit(a, line[target / several].of[target % several], target) : all.largest;
        a.nll[row] = natural_log(is_class ? all.sum : -1.0f) + (all.largest - x);
    }
    if (!a.gradients) return;
    block_barrier();  // the target's logit has been read
    const float weight = a.row_weights == nullptr ? a.weight : a.row_weights[row], scale = weight / all.sum;
    for (int64 piece = thread_index(); piece * several < a.width; piece += thread_count()) {
        const Several values = line[piece];
        Several gradients;
#pragma unroll
        for (int n = 0; n < several; ++n) {
            const int64 column = piece * several + n;
            float gradient = 0.0f;
            if (column < a.classes) {
                gradient = scale * exp_of_negative(logit(a, values.of[n], column) - all.largest);
                if (column == target) gradient -= weight;
            }
            gradients.of[n] = to_element(gradient);
        }
        line[piece] = gradients;
    }
}
