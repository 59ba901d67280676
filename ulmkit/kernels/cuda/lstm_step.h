// Work of one thread at one step for one unit of one sequence, in the persistent and in the stepwise kernels.

#pragma once

#include "primitives.h"
#include "../lstm_cell-inl.h"

// T, B, H: steps, batch, hidden_size. K, G: width and gates_width, H and 4H rounded up to a multiple of 16 with zeros. An
// int can count the elements of one step, but not those of all steps.
struct Sequences {
    const int64* lengths;  // (B,), or null if all are T
    int steps, batch, hidden_size, width, gates_width;
};

struct Forward {
    Sequences sequences;
    const Element* sums;     // (T, B, 4H) W_ih x + b
    const Element* weights;  // (4H, K) W_hh, masked
    const Element* h0;       // (B, K)
    Element* y;              // (T, B, K), zero after a sequence's end
    float* h_n;              // (B, H) h_0, overwritten by the state after the last step
    float* c_n;              // (B, H) c_0, overwritten by the state after the last step
    float* cells;            // (T + 1, B, H) c_0, then c_t where the sequence has a step t
    Element* gates;          // (T, B, 4H), or null without gradients
    Four* spilled;           // weights that do not fit into shared memory, block by block
    uint32* met;             // (groups,) barrier counters, zero at the start
};

struct Backward {
    Sequences sequences;
    const Element* dy;       // (T, B, H)
    const Element* weights;  // (H, G) W_hh^T, masked
    const float* cells;      // (T + 1, B, H)
    const Element* gates;    // (T, B, 4H)
    Element* d_gates;        // (T, B, G) gradients of the sums
    float* dh;               // (B, H) gradient of h_n, overwritten by that of h_0
    float* dc;               // (B, H) gradient of c_n, overwritten by that of c_0
    Four* spilled;           // weights that do not fit into shared memory, block by block
    uint32* met;             // (groups,) barrier counters, zero at the start
};

ULMKIT_INLINE bool runs(const Sequences& s, int t, int row) { return s.lengths == nullptr || t < s.lengths[row]; }

// Loads the four gates of a unit, H apart, without conversion: loads are issued early and converted when needed.
ULMKIT_INLINE Gates<Element> load_gates(const Element* from, int hidden_size) {
    return {from[0], from[hidden_size], from[2 * hidden_size], from[3 * hidden_size]};
}

ULMKIT_INLINE Gates<float> to_floats(const Gates<Element>& gates) {
    return {to_float(gates.i), to_float(gates.f), to_float(gates.g), to_float(gates.o)};
}

ULMKIT_INLINE void store_gates(Element* to, int hidden_size, const Gates<float>& gates) {
    to[0] = to_element(gates.i);
    to[hidden_size] = to_element(gates.f);
    to[2 * hidden_size] = to_element(gates.g);
    to[3 * hidden_size] = to_element(gates.o);
}

ULMKIT_INLINE Gates<float> add(const Gates<float>& a, const Gates<float>& b) {
    return {a.i + b.i, a.f + b.f, a.g + b.g, a.o + b.o};
}

// Number of elements of the first t steps, with `each` for every sequence.
ULMKIT_INLINE int64 steps_before(const Sequences& s, int t, int each) { return (int64)t * s.batch * each; }

// h_{t-1}, (B, K).
ULMKIT_INLINE const Element* hidden_before(const Forward& a, int t) {
    return t == 0 ? a.h0 : a.y + steps_before(a.sequences, t - 1, a.sequences.width);
}

// Loads the input's contribution to a unit's gates.
ULMKIT_INLINE Gates<Element> load_sums(const Forward& a, int t, int row, int unit) {
    const Sequences& s = a.sequences;
    return load_gates(a.sums + steps_before(s, t, 4 * s.hidden_size) + row * 4 * s.hidden_size + unit, s.hidden_size);
}

// Takes one forward step. sum: contributions of input and recurrence. c: cell before the step. Returns the cell after it.
ULMKIT_INLINE float forward_unit(const Forward& a, int t, int row, int unit, const Gates<float>& sum, float c) {
    const Sequences& s = a.sequences;
    const int cell = row * s.hidden_size + unit;
    Element& y = a.y[steps_before(s, t, s.width) + row * s.width + unit];
    if (!runs(s, t, row)) {
        y = to_element(0.0f);
        return c;
    }
    const Gates<float> gates = gates_of(sum);
    const States<float> after = step_forward(gates, c);
    y = to_element(after.h);
    a.cells[steps_before(s, t + 1, s.hidden_size) + cell] = after.c;
    if (a.gates != nullptr)
        store_gates(a.gates + steps_before(s, t, 4 * s.hidden_size) + row * 4 * s.hidden_size + unit, s.hidden_size, gates);
    if (t + 1 == s.steps || !runs(s, t + 1, row)) {
        a.h_n[cell] = to_float(y);
        a.c_n[cell] = after.c;
    }
    return after.c;
}

// Values that the forward pass stored for one unit at one step, with the incoming gradient. c: cell before the step.
struct Stored {
    Gates<Element> gates;
    Element dy;
    float c;
};

ULMKIT_INLINE Stored load_stored(const Backward& a, int t, int row, int unit) {
    const Sequences& s = a.sequences;
    const int cell = row * s.hidden_size + unit;
    const int64 before = steps_before(s, t, s.hidden_size);
    return {load_gates(a.gates + 4 * before + row * 4 * s.hidden_size + unit, s.hidden_size), a.dy[before + cell],
            a.cells[before + cell]};
}

// Takes one backward step.
// c_after: cell after the step
// d: gradients of the states after the step without dy; on return d.c is the gradient of the cell before the step, and d.h
//    what bypasses the step: all of it where the sequence has ended, else zero
ULMKIT_INLINE void backward_unit(const Backward& a, int t, int row, int unit, const Stored& stored, float c_after,
                                 States<float>& d) {
    const Sequences& s = a.sequences;
    Gates<float> da{0.0f, 0.0f, 0.0f, 0.0f};
    if (runs(s, t, row)) {
        d.h += to_float(stored.dy);
        da = step_backward(to_floats(stored.gates), stored.c, c_after, d);
        d.h = 0.0f;
    }
    store_gates(a.d_gates + steps_before(s, t, s.gates_width) + row * s.gates_width + unit, s.hidden_size, da);
}
