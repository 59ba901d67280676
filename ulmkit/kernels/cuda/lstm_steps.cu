// The pointwise part of the LSTM, one launch a step, and the mask: beside products by a library, for shapes and types that
// the persistent kernels do not take. A thread has one unit of one sequence, or one weight.
//
// The steps' launches are recorded once and done again for other sequences: what differs is at a fixed place of the
// device's memory.

#include "lstm_step.h"

ULMKIT_INLINE int64 place_of_thread() { return (int64)block_index() * thread_count() + thread_index(); }

// done: steps of the sequences.
struct ForwardCall {
    int64 done;
    Forward arguments;
};

struct BackwardCall {
    int64 done;
    Backward arguments;
};

ULMKIT_KERNEL void begin_forward(Forward a, ForwardCall* call) {
    if (place_of_thread() == 0) *call = {0, a};
}

ULMKIT_KERNEL void begin_backward(Backward a, BackwardCall* call) {
    if (place_of_thread() == 0) *call = {0, a};
}

ULMKIT_KERNEL void advance(int64* done, int64 steps) {
    if (place_of_thread() == 0) *done += steps;
}

// number: of the step, after those that are done. recurrent: (B, 4H) W_hh h_{t-1}. state: (B, K), where h_t is put.
ULMKIT_KERNEL void forward_step(const ForwardCall* call, int64 number, const float* recurrent, Element* state) {
    const Forward a = call->arguments;
    const Sequences& s = a.sequences;
    const int64 t = call->done + number;
    const int64 place = place_of_thread(), row = place / s.hidden_size, unit = place % s.hidden_size;
    if (row >= s.batch) return;
    const float* part = recurrent + row * 4 * s.hidden_size + unit;
    const Gates<float> sum =
        add(load_gates(a.sums + (t * s.batch + row) * 4 * s.hidden_size + unit, s.hidden_size),
            {part[0], part[s.hidden_size], part[2 * s.hidden_size], part[3 * s.hidden_size]});
    forward_unit(a, t, row, unit, sum, a.cells[(t * s.batch + row) * s.hidden_size + unit]);
    state[row * s.width + unit] = a.y[(t * s.batch + row) * s.width + unit];
}

// From the last step to the first, and once more for what goes past that. recurrent: (B, H) da_{t+1} W_hh. state: (B, G),
// where da_t is put.
ULMKIT_KERNEL void backward_step(const BackwardCall* call, int64 number, const float* recurrent, Element* state) {
    const Backward a = call->arguments;
    const Sequences& s = a.sequences;
    const int64 t = s.steps - 1 - call->done - number;
    const int64 place = place_of_thread(), row = place / s.hidden_size, unit = place % s.hidden_size;
    if (row >= s.batch) return;
    States<float> d{a.dc[place], a.dh[place] + recurrent[place]};
    if (t >= 0) {
        backward_unit(a, t, row, unit, d);
        const Element* from = a.d_gates + (t * s.batch + row) * s.gates_width + unit;
        for (int gate = 0; gate < 4; ++gate)
            state[row * s.gates_width + gate * s.hidden_size + unit] = from[gate * s.hidden_size];
    }
    a.dc[place] = d.c;
    a.dh[place] = d.h;
}

// W_hh (4H, H), masked and scaled, in the type of products: to (4H, K), zero from H on.
ULMKIT_KERNEL void mask_weights(const float* w_hh, const unsigned char* keep_bits, float keep_scale, int64 hidden_size,
                                int64 width, Element* to) {
    const int64 place = place_of_thread(), row = place / width, column = place % width;
    if (row >= 4 * hidden_size) return;
    const bool is_weight = column < hidden_size;
    to[place] = to_element(is_weight ? kept(w_hh, keep_bits, keep_scale, hidden_size, row, column) : 0.0f);
}

// dW_hh (4H, H) in place.
ULMKIT_KERNEL void mask_gradient(float* gradient, const unsigned char* keep_bits, float keep_scale, int64 hidden_size) {
    const int64 place = place_of_thread(), row = place / hidden_size, column = place % hidden_size;
    if (row >= 4 * hidden_size) return;
    gradient[place] = kept(gradient, keep_bits, keep_scale, hidden_size, row, column);
}
