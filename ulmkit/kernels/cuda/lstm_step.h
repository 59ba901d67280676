// What one thread does at one step for one unit of one sequence, whichever way the products before it were made.

#pragma once

#include "primitives.h"
#include "../lstm_cell.h"

// T, B, H: steps, batch and hidden_size. K and G: width of the states' rows and of the gates' gradients', H and 4H rounded up
// to a multiple of 16; what is beyond is zero.
struct Sequences {
    const int64* lengths;  // (B,), or null if all are T
    int64 steps, batch, hidden_size, width, gates_width;
};

struct Forward {
    Sequences sequences;
    const Element* sums;             // (T, B, 4H) W_ih x + b
    const float* w_hh;               // (4H, H)
    const unsigned char* keep_bits;  // (4H, ceil(H / 8)), or null to keep every weight
    const Element* h0;               // (B, K)
    Element* y;                      // (T, B, K), zero after a sequence's end
    float* h_n;                      // (B, H), and c_n: the first states, which those after the last step replace
    float* c_n;
    float* cells;                    // (T + 1, B, H): c_0 in front, and then of the steps that sequences have
    Element* gates;                  // (T, B, 4H), or null where no gradient is wanted
    Four* spilled;                   // what of the weights does not fit into shared memory, block by block
    uint32* met;                     // a counter for each group of sequences, zero
    float keep_scale;
};

struct Backward {
    Sequences sequences;
    const Element* dy;               // (T, B, H)
    const float* w_hh;               // as in the forward, and so are the next two
    const unsigned char* keep_bits;
    const float* cells;              // (T + 1, B, H)
    const Element* gates;            // (T, B, 4H)
    Element* d_gates;                // (T, B, G) gradients of the sums
    float* dh;                       // (B, H): of h_n, and in the end of h_0
    float* dc;                       // (B, H): of c_n, and in the end of c_0
    Four* spilled;                   // as in the forward, and so is the next
    uint32* met;
    float keep_scale;
};

ULMKIT_INLINE bool runs(const Sequences& s, int64 t, int64 row) { return s.lengths == nullptr || t < s.lengths[row]; }

// The four gates of a unit, H apart.
ULMKIT_INLINE Gates<float> load_gates(const Element* from, int64 hidden_size) {
    return {to_float(from[0]), to_float(from[hidden_size]), to_float(from[2 * hidden_size]), to_float(from[3 * hidden_size])};
}

ULMKIT_INLINE void store_gates(Element* to, int64 hidden_size, const Gates<float>& gates) {
    to[0] = to_element(gates.i);
    to[hidden_size] = to_element(gates.f);
    to[2 * hidden_size] = to_element(gates.g);
    to[3 * hidden_size] = to_element(gates.o);
}

ULMKIT_INLINE Gates<float> add(const Gates<float>& a, const Gates<float>& b) {
    return {a.i + b.i, a.f + b.f, a.g + b.g, a.o + b.o};
}

// h_{t-1}, (B, K).
ULMKIT_INLINE const Element* hidden_before(const Forward& a, int64 t) {
    return t == 0 ? a.h0 : a.y + (t - 1) * a.sequences.batch * a.sequences.width;
}

// sum: of input and recurrence. c: before the step. Returns: after it.
ULMKIT_INLINE float forward_unit(const Forward& a, int64 t, int64 row, int64 unit, const Gates<float>& sum, float c) {
    const Sequences& s = a.sequences;
    const int64 place = t * s.batch + row;
    Element& y = a.y[place * s.width + unit];
    if (!runs(s, t, row)) {
        y = to_element(0.0f);
        return c;
    }
    const Gates<float> gates = gates_of(sum);
    const States<float> after = step_forward(gates, c);
    y = to_element(after.h);
    a.cells[(place + s.batch) * s.hidden_size + unit] = after.c;
    if (a.gates != nullptr) store_gates(a.gates + place * 4 * s.hidden_size + unit, s.hidden_size, gates);
    if (t + 1 == s.steps || !runs(s, t + 1, row)) {
        a.h_n[row * s.hidden_size + unit] = to_float(y);
        a.c_n[row * s.hidden_size + unit] = after.c;
    }
    return after.c;
}

// d: gradients of the states after the step, without dy; in the end d.c is that of the cell before the step, and d.h what
// of the gradient goes past the step: all of it where the sequence has ended.
ULMKIT_INLINE void backward_unit(const Backward& a, int64 t, int64 row, int64 unit, States<float>& d) {
    const Sequences& s = a.sequences;
    const int64 place = t * s.batch + row, cell = place * s.hidden_size + unit;
    Gates<float> da{0.0f, 0.0f, 0.0f, 0.0f};
    if (runs(s, t, row)) {
        d.h += to_float(a.dy[cell]);
        da = step_backward(load_gates(a.gates + place * 4 * s.hidden_size + unit, s.hidden_size), a.cells[cell],
                           a.cells[cell + s.batch * s.hidden_size], d);
        d.h = 0.0f;
    }
    store_gates(a.d_gates + place * s.gates_width + unit, s.hidden_size, da);
}

// A recurrent weight as it takes part: masked, scaled.
ULMKIT_INLINE float kept(const float* w_hh, const unsigned char* keep_bits, float keep_scale, int64 hidden_size, int64 row,
                         int64 column) {
    const float weight = w_hh[row * hidden_size + column];
    if (keep_bits == nullptr) return weight;
    const int byte = keep_bits[row * ((hidden_size + 7) / 8) + column / 8];
    return byte >> column % 8 & 1 ? weight * keep_scale : 0.0f;
}
