// Activation regularisation (AR) and temporal activation regularisation (TAR) of a layer's output h (T, B, H), in one pass:
//
//     alpha mean((m h_t)^2) + beta mean((h_{t+1} - h_t)^2)
//
// One thread per unit of one sequence, for all steps.
//
// Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 4.6; means of squares as in the published code.

#include "block.h"

struct Regularization {
    const Element* h;     // (T, B H)
    const Element* mask;  // (B H,) m, or null for 1
    int64 steps, columns;  // T, B H
    float alpha, beta;     // weights over the number of squares
    float* sums;           // (blocks,) result of the forward pass: each block's share of the loss
    const float* d_sum;    // input of the backward pass: gradient of the loss, one number
    Element* d_h;          // (T, B H) result of the backward pass
};

ULMKIT_INLINE float squared_mask(const Regularization& a, int64 column) {
    const float mask = a.mask == nullptr ? 1.0f : to_float(a.mask[column]);
    return mask * mask;
}

ULMKIT_KERNEL void regularization_forward(Regularization a) {
    const int64 column = place_of_thread();
    float squares = 0.0f, differences = 0.0f;
    if (column < a.columns) {
        float before = to_float(a.h[column]);
        squares = before * before;
        for (int64 t = 1; t < a.steps; ++t) {
            const float h = to_float(a.h[t * a.columns + column]);
            squares += h * h;
            differences += (h - before) * (h - before);
            before = h;
        }
        squares *= squared_mask(a, column);
    }
    const float sum =
        combined(a.alpha * squares + a.beta * differences, [](float some, float others) { return some + others; });
    if (thread_index() == 0) a.sums[block_index()] = sum;
}

// dh_t = 2 d (alpha m^2 h_t + beta ((h_t - h_{t-1}) - (h_{t+1} - h_t))), where d is the gradient of the loss
ULMKIT_KERNEL void regularization_backward(Regularization a) {
    const int64 column = place_of_thread();
    if (column >= a.columns) return;
    const float d = 2.0f * *a.d_sum, alpha = d * a.alpha * squared_mask(a, column), beta = d * a.beta;
    float h = to_float(a.h[column]), to_here = 0.0f;  // to_here: h_t - h_{t-1}
    for (int64 t = 0; t < a.steps; ++t) {
        const float next = t + 1 < a.steps ? to_float(a.h[(t + 1) * a.columns + column]) : h, from_here = next - h;
        a.d_h[t * a.columns + column] = to_element(alpha * h + beta * (to_here - from_here));
        h = next;
        to_here = from_here;
    }
}
