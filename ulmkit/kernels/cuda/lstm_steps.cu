// Pointwise part of the LSTM, one launch per step, between GEMMs of a library: for shapes and types without a persistent
// kernel. One thread per unit of one sequence.
//
// The launches are recorded as CUDA graphs and replayed for other sequences, so everything that differs between calls is
// at a fixed address in device memory.

#include "block.h"
#include "lstm_step.h"

// done: number of steps that are done
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

// number: number of the step, counted from those that are done
// recurrent: (B, 4H) W_hh h_{t-1}
// state: (B, K) receives h_t
ULMKIT_KERNEL void forward_step(const ForwardCall* call, int64 number, const float* recurrent, Element* state) {
    const Forward a = call->arguments;
    const Sequences& s = a.sequences;
    const int t = (int)(call->done + number);
    const int place = (int)place_of_thread(), row = place / s.hidden_size, unit = place % s.hidden_size;
    if (row >= s.batch) return;
    const float* part = recurrent + row * 4 * s.hidden_size + unit;
    const Gates<float> sum =
        add(to_floats(load_sums(a, t, row, unit)),
            {part[0], part[s.hidden_size], part[2 * s.hidden_size], part[3 * s.hidden_size]});
    forward_unit(a, t, row, unit, sum, a.cells[steps_before(s, t, s.hidden_size) + place]);
    state[row * s.width + unit] = a.y[steps_before(s, t, s.width) + row * s.width + unit];
}

// Runs from the last step to the first, and once more for the gradients of the first states.
// recurrent: (B, H) da_{t+1} W_hh
// state: (B, G) receives da_t
ULMKIT_KERNEL void backward_step(const BackwardCall* call, int64 number, const float* recurrent, Element* state) {
    const Backward a = call->arguments;
    const Sequences& s = a.sequences;
    const int t = (int)(s.steps - 1 - call->done - number);
    const int place = (int)place_of_thread(), row = place / s.hidden_size, unit = place % s.hidden_size;
    if (row >= s.batch) return;
    States<float> d{a.dc[place], a.dh[place] + recurrent[place]};
    if (t >= 0) {
        const float c_after = a.cells[steps_before(s, t + 1, s.hidden_size) + place];
        backward_unit(a, t, row, unit, load_stored(a, t, row, unit), c_after, d);
        const Element* from = a.d_gates + steps_before(s, t, s.gates_width) + row * s.gates_width + unit;
        for (int gate = 0; gate < 4; ++gate)
            state[row * s.gates_width + gate * s.hidden_size + unit] = from[gate * s.hidden_size];
    }
    a.dc[place] = d.c;
    a.dh[place] = d.h;
}
