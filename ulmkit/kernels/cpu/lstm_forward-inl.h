// LSTM forward pass; lstm_cell-inl.h has the formulas.
//
// Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as in torch.nn.LSTM.

// Rows of one input product: enough to amortise reading W_ih, few enough to stay in cache.
constexpr int64_t chunk_rows = 192;

inline int64_t max_chunk_rows(const Sequences& sequences) { return maximum(chunk_rows, sequences.batch) + 16; }

// Positions of the states: block 0 before the first step, block t + 1 after step t. Without a backward pass two blocks
// alternate.
struct Blocks {
    bool all;
    int64_t batch;
    int64_t before(int64_t t, int64_t row) const { return t == 0 ? 0 : after(t - 1, row); }
    // row: the packed row that step t begins at; for `before`, that step t - 1 does
    int64_t after(int64_t t, int64_t row) const { return all ? batch + row : (t + 1) % 2 * batch; }
};

// Computes the states of one group of units at a step from its gate sums [rows][4][width].
inline void finish_units(const Shape& shape, int64_t group, int64_t rows, const float* sums, const float* bias,
                         const float* c_before, float* c_after, Element* h_after, Element* gates, Element* y,
                         const int64_t* order) {
    const int64_t first = group * width, present = shape.present(group);
    Floats b[4];
    for (int64_t gate = 0; gate < 4; ++gate) b[gate] = load_some(bias + gate * shape.hidden + first, present);
    for (int64_t row = 0; row < rows; ++row) {
        const float* sum = sums + row * 4 * width;
        const Gates<Floats> gate = gates_of(Gates<Floats>{load(sum) + b[0], load(sum + width) + b[1],
                                                          load(sum + 2 * width) + b[2], load(sum + 3 * width) + b[3]});
        States<Floats> state = step_forward(gate, load(c_before + row * shape.units + first));
        if (present < width) state = {first_lanes(state.c, present), first_lanes(state.h, present)};
        store(c_after + row * shape.units + first, state.c);
        Engine::store(h_after + row * shape.hidden_wide + first, state.h);
        store_elements(y + order[row] * shape.hidden + first, state.h, present);
        if (gates == nullptr) continue;
        Element* kept = gates + row * shape.gates + group * 4 * width;
        Engine::store(kept, gate.i);
        Engine::store(kept + width, gate.f);
        Engine::store(kept + 2 * width, gate.g);
        Engine::store(kept + 3 * width, gate.o);
    }
}

class ForwardPass {
public:
    ForwardPass(Layer layer, const Sequences& sequences, const Forward& forward, int threads)
        : shape_(layer), sequences_(sequences), forward_(forward),
          inputs_matrix_{static_cast<const Factor*>(forward.weights.laid_out), forward.weights.w_ih, shape_.inputs,
                         shape_.inputs_wide, shape_.input_group},
          recurrent_matrix_{inputs_matrix_.laid_out == nullptr
                                ? nullptr
                                : inputs_matrix_.laid_out + shape_.groups * shape_.input_group,
                            forward.weights.w_hh, shape_.hidden, shape_.hidden_wide, shape_.hidden_group},
          hidden_(static_cast<Element*>(forward.kept.hidden)),
          gates_(static_cast<Element*>(forward.kept.gates)), blocks_{forward.kept.inputs != nullptr, sequences.batch},
          inputs_(static_cast<Element*>(forward.kept.inputs)),
          factor_bytes_(round_up(
              Engine::factor_bytes(max_chunk_rows(sequences), maximum(shape_.inputs_wide, shape_.hidden_wide)), 64)) {
        Workspace workspace(forward.workspace);
        sums_ = workspace.take<float>(max_chunk_rows(sequences) * shape_.gates);
        if (inputs_ == nullptr) inputs_ = workspace.take<Element>(max_chunk_rows(sequences) * shape_.inputs_wide);
        factors_ = workspace.take<char>(threads * factor_bytes_);
        bytes_ = workspace.bytes();
    }

    int64_t workspace_bytes() const { return bytes_; }

    // The work of one thread; all threads call it together.
    void run(int thread, int threads) {
        [[maybe_unused]] const Engine::Session session;
        const Slice slice(shape_.groups, thread, threads);
        start(Slice(sequences_.batch, thread, threads));
        int64_t row = 0, row_before = 0;  // packed rows where this step and the one before it begin
        for (int64_t t = 0; t < sequences_.steps && sequences_.running[t] > 0;) {
            int64_t end = t + 1, rows = sequences_.running[t];
            while (end < sequences_.steps && sequences_.running[end] > 0 && rows + sequences_.running[end] <= chunk_rows)
                rows += sequences_.running[end++];
            Element* inputs = inputs_ + (gates_ != nullptr ? row * shape_.inputs_wide : 0);
            copy_inputs(t, end, inputs, thread, threads);
#pragma omp barrier
            void* space = factors_ + thread * factor_bytes_;
            multiply_inputs(slice, rows, inputs, space);
            for (int64_t from = 0; t < end; ++t) {
                step(t, slice, rows, from, row, row_before, space);
                from += sequences_.running[t];
                row_before = row;
                row += sequences_.running[t];
#pragma omp barrier
            }
        }
    }

private:
    // W_ih or W_hh [4H][columns]: laid out with K = wide and `group` factors per group, or null; then it is read unpacked.
    struct Matrix {
        const Factor* laid_out;
        const float* rows;
        int64_t columns, wide, group;
    };

    void start(Slice rows) {
        for (int64_t row = rows.first; row < rows.last; ++row) {
            const int64_t from = sequences_.order[row] * shape_.hidden;
            Element* h = hidden_ + row * shape_.hidden_wide;
            std::memset(h, 0, shape_.hidden_wide * sizeof(Element));
            if (!blocks_.all) std::memset(h + sequences_.batch * shape_.hidden_wide, 0, shape_.hidden_wide * sizeof(Element));
            for (int64_t group = 0; group < shape_.groups; ++group) {
                const int64_t unit = group * width, present = shape_.present(group);
                store_elements(h + unit, load_some(forward_.h0 + from + unit, present), present);
                store(forward_.kept.cells + row * shape_.units + unit, load_some(forward_.c0 + from + unit, present));
            }
            if (sequences_.steps > 0 && row < sequences_.running[0]) continue;
            std::memcpy(forward_.h_n + from, forward_.h0 + from, shape_.hidden * sizeof(float));
            std::memcpy(forward_.c_n + from, forward_.c0 + from, shape_.hidden * sizeof(float));
        }
    }

    void copy_inputs(int64_t t, int64_t end, Element* inputs, int thread, int threads) {
        for (; t < end; ++t) {
            const Slice rows(sequences_.running[t], thread, threads);
            for (int64_t row = rows.first; row < rows.last; ++row) {
                const int64_t place = t * sequences_.batch + sequences_.order[row];
                const Element* from = static_cast<const Element*>(forward_.x) + place * shape_.inputs;
                Element* to = inputs + row * shape_.inputs_wide;
                std::memcpy(to, from, shape_.inputs * sizeof(Element));
                std::memset(to + shape_.inputs, 0, (shape_.inputs_wide - shape_.inputs) * sizeof(Element));
            }
            inputs += sequences_.running[t] * shape_.inputs_wide;
        }
    }

    // Gate sums of a chunk: [group][row][4][width].
    void multiply_inputs(Slice slice, int64_t rows, const Element* inputs, void* space) {
        const Factor* factors = Engine::factors(rows, inputs_matrix_.wide, inputs, space);
        for (int64_t group = slice.first; group < slice.last; ++group)
            multiply(inputs_matrix_, group, rows, factors, sums_ + group * rows * 4 * width, false);
    }

    // Computes the gate sums of a group, [rows][4][width] = (sums +) A W^T.
    void multiply(const Matrix& w, int64_t group, int64_t rows, const Factor* a, float* sums, bool accumulate) {
#if defined(ULMKIT_READS_ROWS)
        if (w.laid_out == nullptr) return gate_sums(shape_, group, rows, a, w.wide, w.rows, w.columns, sums, accumulate);
#endif
        Engine::product(rows, 4, w.wide, a, w.wide + Engine::row_end, w.laid_out + group * w.group, w.group / 4, sums,
                        4 * width, accumulate);
    }

    void step(int64_t t, Slice slice, int64_t rows, int64_t from, int64_t row, int64_t row_before, void* space) {
        const int64_t running = sequences_.running[t], k = shape_.hidden_wide;
        const int64_t next = t + 1 < sequences_.steps ? sequences_.running[t + 1] : 0;
        const int64_t before = blocks_.before(t, row_before), after = blocks_.after(t, row);
        const Factor* h_before = Engine::factors(running, k, hidden_ + before * k, space);
        Element* h_after = hidden_ + after * k;
        float* c_after = forward_.kept.cells + after * shape_.units;
        Element* y = static_cast<Element*>(forward_.y) + t * sequences_.batch * shape_.hidden;
        for (int64_t n = slice.first; n < slice.last; ++n) {
            // Alternates direction, so that the weights read last are still in cache.
            const int64_t group = t % 2 == 0 ? n : slice.first + slice.last - 1 - n;
            float* sums = sums_ + (group * rows + from) * 4 * width;
            multiply(recurrent_matrix_, group, running, h_before, sums, true);
            finish_units(shape_, group, running, sums, forward_.bias, forward_.kept.cells + before * shape_.units,
                         c_after, h_after, gates_ == nullptr ? nullptr : gates_ + row * shape_.gates, y,
                         sequences_.order);
            if (group == shape_.groups - 1) clear_pad(h_after, running);
            finish_sequences(group, next, running, h_after, c_after);
        }
    }

    // Zeros the padding beyond the units, which is part of K in the next step's product.
    void clear_pad(Element* h, int64_t rows) {
        for (int64_t row = 0; row < rows && shape_.units < shape_.hidden_wide; ++row)
            std::memset(h + row * shape_.hidden_wide + shape_.units, 0,
                        (shape_.hidden_wide - shape_.units) * sizeof(Element));
    }

    // Writes the final states of sequences that end with this step.
    void finish_sequences(int64_t group, int64_t first, int64_t last, const Element* h, const float* c) {
        const int64_t unit = group * width, present = shape_.present(group);
        for (int64_t row = first; row < last; ++row) {
            const int64_t to = sequences_.order[row] * shape_.hidden + unit;
            store_some(forward_.h_n + to, Engine::load(h + row * shape_.hidden_wide + unit), present);
            store_some(forward_.c_n + to, load(c + row * shape_.units + unit), present);
        }
    }

    const Shape shape_;
    const Sequences& sequences_;
    const Forward& forward_;
    const Matrix inputs_matrix_, recurrent_matrix_;
    Element* hidden_;
    Element* gates_;
    const Blocks blocks_;
    Element* inputs_;
    float* sums_;            // [group][row of a chunk][4][width]
    char* factors_;          // per thread: rows converted to the products' factors, if they need conversion
    int64_t factor_bytes_, bytes_;
};

inline void forward(Layer layer, Sequences sequences, Forward forward, int threads) {
    ForwardPass pass(layer, sequences, forward, threads);
#pragma omp parallel num_threads(threads)
    pass.run(omp_get_thread_num(), omp_get_num_threads());
}
