// LSTM backward pass, from the last step to the first. lstm_cell-inl.h has the formulas of a step. Between steps,
//
//     dh_{t-1} = W_hh^T da_t,
//
// and after them, for all steps at once, dx = da W_ih, dW_ih = da^T x, dW_hh = da^T h_{t-1}.

class BackwardPass {
public:
    BackwardPass(Layer layer, const Sequences& sequences, const Backward& backward, int threads)
        : shape_(layer), sequences_(sequences), backward_(backward), rows_(total_rows(sequences)),
          deep_(round_up(rows_, maximum(Engine::depth, width))), features_(shape_.inputs_wide + shape_.hidden_wide),
          weights_ih_(static_cast<const Element*>(backward.weights.laid_out)),
          weights_hh_(weights_ih_ == nullptr ? nullptr : weights_ih_ + shape_.inputs_wide * shape_.gates),
          gates_(static_cast<const Element*>(backward.kept.gates)) {
        Workspace workspace(backward.workspace);
        d_gates_ = workspace.take<Element>((deep_ + 16) * shape_.gates);
        dc_ = workspace.take<float>(sequences.batch * shape_.units);
        bias_ = workspace.take<float>(shape_.gates);
        transposed_ = workspace.take<Element>((features_ + 16) * deep_);
        places_ = workspace.take<int64_t>(rows_);
        panel_ = workspace.take<Element>(threads * 4 * width * deep_);
        tile_rows_ = maximum(tile_rows, sequences.batch) + 16;
        tile_ = workspace.take<float>(threads * tile_rows_ * 4 * width);
        dh_ = workspace.take<float>(sequences.batch * shape_.units);
        bytes_ = workspace.bytes();
    }

    int64_t workspace_bytes() const { return bytes_; }

    // The work of one thread; all threads call it together.
    void run(int thread, int threads) {
        [[maybe_unused]] const Engine::Session session;
        const Slice groups(shape_.groups, thread, threads);
        float* tile = tile_ + thread * tile_rows_ * 4 * width;
        if (thread == 0) find_places();
        for (int64_t n = groups.first * 4 * width; n < groups.last * 4 * width; ++n) bias_[n] = 0.0f;
        int64_t row = rows_, row_after = rows_;  // packed rows where this step and the one after it begin
        for (int64_t t = sequences_.steps - 1; t >= 0; --t) {
            row -= sequences_.running[t];
            step(t, groups, row, row_after, tile);
            row_after = row;
#pragma omp barrier
        }
        step(-1, groups, 0, 0, tile);
        if (backward_.dx != nullptr) multiply_to_inputs(tile, thread, threads);
        if (backward_.d_w_ih == nullptr) return;
#if defined(ULMKIT_READS_ROWS)
        if (weights_ih_ == nullptr) return rows_to_weights(groups);
#endif
        transpose_features(thread, threads);
        const Slice tail(deep_ - rows_, thread, threads);
        std::memset(d_gates_ + (rows_ + tail.first) * shape_.gates, 0,
                    (tail.last - tail.first) * shape_.gates * sizeof(Element));
#pragma omp barrier
        for (int64_t group = groups.first; group < groups.last; ++group)
            multiply_to_weights(group, panel_ + thread * 4 * width * deep_, tile);
    }

private:
    static constexpr int64_t tile_rows = 112;  // rows of a large product to compute at once

    // Computes dh of step t from da of step t + 1, and then da of step t. For t = -1 it writes dh_0 and dc_0 instead.
    void step(int64_t t, Slice groups, int64_t row, int64_t row_after, float* tile) {
        const int64_t ahead = t + 1 < sequences_.steps && (t >= 0 || backward_.dh0 != nullptr) ? sequences_.running[t + 1] : 0;
        const Element* d_gates = d_gates_ + row_after * shape_.gates;
#if defined(ULMKIT_READS_ROWS)
        if (weights_ih_ == nullptr) {
            const int64_t first = groups.first * width, last = minimum(groups.last * width, shape_.hidden);
            if (ahead > 0 && first < last)
                times_weights(shape_, ahead, d_gates, backward_.weights.w_hh, shape_.hidden, first, last, dh_, shape_.units);
            for (int64_t group = groups.first; group < groups.last; ++group)
                finish_step(t, group, ahead, row, dh_ + group * width, shape_.units);
            return;
        }
#endif
        const int64_t fours = (groups.last - groups.first + 3) / 4, each = shape_.gates * width;
        for (int64_t n = 0; n < fours; ++n) {  // alternates direction, so that the weights read last are still in cache
            const int64_t group = groups.first + 4 * (t % 2 == 0 ? n : fours - 1 - n);
            const int64_t count = minimum(4, groups.last - group);
            if (ahead > 0)
                Engine::product(ahead, count, shape_.gates, d_gates, shape_.gates, weights_hh_ + group * each, each, tile,
                                4 * width, false);
            for (int64_t m = 0; m < count; ++m) finish_step(t, group + m, ahead, row, tile + m * width, 4 * width);
        }
    }

    // dh: [ahead][dh_stride], for the sequences that have a step t + 1.
    void finish_step(int64_t t, int64_t group, int64_t ahead, int64_t row, const float* dh, int64_t dh_stride) {
        if (t >= 0) return step_units(t, group, ahead, sequences_.running[t], row, dh, dh_stride);
        if (backward_.dh0 != nullptr) write_first_states(group, ahead, dh, dh_stride);
        if (backward_.d_w_ih != nullptr) write_bias(group);
    }

    void step_units(int64_t t, int64_t group, int64_t ahead, int64_t running, int64_t row, const float* dh_ahead,
                    int64_t dh_stride) {
        const int64_t unit = group * width, present = shape_.present(group);
        const int64_t before = t == 0 ? 0 : sequences_.batch + row - sequences_.running[t - 1];
        const float* c_before = backward_.kept.cells + before * shape_.units + unit;
        const float* c_after = backward_.kept.cells + (sequences_.batch + row) * shape_.units + unit;
        const Element* dy = static_cast<const Element*>(backward_.dy) + t * sequences_.batch * shape_.hidden + unit;
        Floats bias[4];
        for (int gate = 0; gate < 4; ++gate) bias[gate] = load(bias_ + (group * 4 + gate) * width);
        for (int64_t n = 0; n < running; ++n) {
            const int64_t place = sequences_.order[n] * shape_.hidden + unit;
            States<Floats> d{{}, load_elements(dy + sequences_.order[n] * shape_.hidden, present)};
            if (n < ahead) {
                d.h += load(dh_ahead + n * dh_stride);
                d.c = load(dc_ + n * shape_.units + unit);
            } else {
                d.h += load_some(backward_.dh_n + place, present);
                d.c = load_some(backward_.dc_n + place, present);
            }
            const Element* gates = gates_ + (row + n) * shape_.gates + group * 4 * width;
            const Gates<Floats> da = step_backward(
                Gates<Floats>{Engine::load(gates), Engine::load(gates + width), Engine::load(gates + 2 * width),
                              Engine::load(gates + 3 * width)},
                load(c_before + n * shape_.units), load(c_after + n * shape_.units), d);
            Element* d_gates = d_gates_ + (row + n) * shape_.gates + group * 4 * width;
            Floats sums[4] = {da.i, da.f, da.g, da.o};
            for (int gate = 0; gate < 4; ++gate) {
                if (present < width) sums[gate] = first_lanes(sums[gate], present);
                Engine::store(d_gates + gate * width, sums[gate]);
                bias[gate] += sums[gate];
            }
            store(dc_ + n * shape_.units + unit, d.c);
        }
        for (int gate = 0; gate < 4; ++gate) store(bias_ + (group * 4 + gate) * width, bias[gate]);
    }

    void write_first_states(int64_t group, int64_t ahead, const float* dh, int64_t dh_stride) {
        const int64_t unit = group * width, present = shape_.present(group);
        for (int64_t n = 0; n < sequences_.batch; ++n) {
            const int64_t place = sequences_.order[n] * shape_.hidden + unit;
            const bool ran = n < ahead;
            store_some(backward_.dh0 + place, ran ? load(dh + n * dh_stride) : load_some(backward_.dh_n + place, present),
                       present);
            store_some(backward_.dc0 + place,
                       ran ? load(dc_ + n * shape_.units + unit) : load_some(backward_.dc_n + place, present), present);
        }
    }

    void write_bias(int64_t group) {
        for (int64_t gate = 0; gate < 4; ++gate)
            store_some(backward_.d_bias + gate * shape_.hidden + group * width, load(bias_ + (group * 4 + gate) * width),
                       shape_.present(group));
    }

    // Computes the position of each packed row in (T, B).
    void find_places() {
        int64_t* place = places_;
        for (int64_t t = 0; t < sequences_.steps; ++t)
            for (int64_t n = 0; n < sequences_.running[t]; ++n) *place++ = t * sequences_.batch + sequences_.order[n];
    }

    // dx = da W_ih
    void multiply_to_inputs(float* tile, int thread, int threads) {
        const int64_t groups = (shape_.inputs + width - 1) / width, fours = (groups + 3) / 4, each = shape_.gates * width;
#if defined(ULMKIT_READS_ROWS)
        if (weights_ih_ == nullptr) {
            const Slice columns(groups, thread, threads);
            const int64_t from = columns.first * width, to = minimum(columns.last * width, shape_.inputs);
            if (from < to)
                times_weights(shape_, rows_, d_gates_, backward_.weights.w_ih, shape_.inputs, from, to,
                              static_cast<float*>(backward_.dx), shape_.inputs);
            return;
        }
#endif
        const Slice slice((rows_ + tile_rows - 1) / tile_rows * fours, thread, threads);
        for (int64_t piece = slice.first; piece < slice.last; ++piece) {
            const int64_t first = piece / fours * tile_rows, rows = minimum(tile_rows, rows_ - first);
            const int64_t group = piece % fours * 4, count = minimum(4, groups - group);
            Engine::product(rows, count, shape_.gates, d_gates_ + first * shape_.gates, shape_.gates,
                            weights_ih_ + group * each, each, tile, 4 * width, false);
            for (int64_t row = 0; row < rows; ++row)
                for (int64_t n = 0; n < count; ++n) {
                    const int64_t column = (group + n) * width;
                    Element* to = static_cast<Element*>(backward_.dx) + places_[first + row] * shape_.inputs + column;
                    store_elements(to, load(tile + (row * 4 + n) * width), minimum(width, shape_.inputs - column));
                }
        }
    }

    // Transposes [x, h_{t-1}] to one row per feature, the A of the products for the weights' gradients.
    void transpose_features(int thread, int threads) {
        const Slice inputs(shape_.inputs_wide / width, thread, threads), hidden(shape_.hidden_wide / width, thread, threads);
        Engine::transpose(rows_, deep_, (inputs.last - inputs.first) * width,
                          static_cast<const Element*>(backward_.kept.inputs) + inputs.first * width, shape_.inputs_wide,
                          transposed_ + inputs.first * width * deep_, deep_);
        Element* to = transposed_ + (shape_.inputs_wide + hidden.first * width) * deep_;
        const Element* h = static_cast<const Element*>(backward_.kept.hidden) + hidden.first * width;
        int64_t row = 0, block = 0;
        for (int64_t t = 0; t < sequences_.steps; ++t) {
            const int64_t rows = sequences_.running[t], padded = t + 1 < sequences_.steps ? rows : deep_ - row;
            Engine::transpose(rows, padded, (hidden.last - hidden.first) * width, h + block * shape_.hidden_wide,
                              shape_.hidden_wide, to + row, deep_);
            block = sequences_.batch + row;
            row += rows;
        }
    }

    // Computes dW_ih = da^T x and dW_hh = da^T h_{t-1}, masked, for one group of units.
    void multiply_to_weights(int64_t group, Element* panel, float* tile) {
        const int64_t each = deep_ * width;
        for (int64_t gate = 0; gate < 4; ++gate)
            Engine::pack_rows(deep_, d_gates_ + (group * 4 + gate) * width, shape_.gates, panel + gate * each);
        for (int64_t first = 0; first < shape_.inputs; first += tile_rows) {
            const int64_t count = minimum(tile_rows, shape_.inputs - first);
            Engine::product(count, 4, deep_, transposed_ + first * deep_, deep_, panel, each, tile, 4 * width, false);
            write_gradient(group, tile, first, count, shape_.inputs, backward_.d_w_ih, nullptr);
        }
        for (int64_t first = 0; first < shape_.hidden; first += tile_rows) {
            const int64_t count = minimum(tile_rows, shape_.hidden - first);
            Engine::product(count, 4, deep_, transposed_ + (shape_.inputs_wide + first) * deep_, deep_, panel, each, tile,
                            4 * width, false);
            write_gradient(group, tile, first, count, shape_.hidden, backward_.d_w_hh, backward_.keep_bits);
        }
    }

#if defined(ULMKIT_READS_ROWS)
    // Computes dW_ih and dW_hh from x and h_{t-1} without transposing them, for weights that are not laid out.
    void rows_to_weights(Slice groups) {
        for (int64_t group = groups.first; group < groups.last; ++group)
            for (int64_t gate = 0; gate < 4; ++gate) {
                const int64_t row = gate * shape_.hidden + group * width, present = shape_.present(group);
                const Strided d_gates{d_gates_ + (group * 4 + gate) * width, 1, shape_.gates, width * shape_.gates};
                times_rows(present, shape_.inputs, rows_, d_gates, static_cast<const float*>(backward_.kept.inputs),
                           shape_.inputs_wide, backward_.d_w_ih + row * shape_.inputs, shape_.inputs, false);
                times_rows(present, shape_.hidden, rows_, d_gates, static_cast<const float*>(backward_.kept.hidden),
                           shape_.hidden_wide, backward_.d_w_hh + row * shape_.hidden, shape_.hidden, false);
            }
    }
#endif

    // Writes a tile [features][gate][unit] to columns first .. first + count of a weight's gradient [4H, columns].
    void write_gradient(int64_t group, const float* tile, int64_t first, int64_t count, int64_t columns, float* to,
                        const uint8_t* keep_bits) {
        for (int64_t gate = 0; gate < 4; ++gate) {
            const int64_t row = gate * shape_.hidden + group * width, present = shape_.present(group);
            float* out = to + row * columns + first;
            write_columns(tile + gate * width, 4 * width, count, present, out, columns, false);
            if (keep_bits == nullptr) continue;
            const int64_t row_bytes = (columns + 7) / 8;
            for (int64_t unit = 0; unit < present; ++unit)
                mask_row(keep_bits + (row + unit) * row_bytes + first / 8, backward_.keep_scale, count,
                         (columns - first + 7) / 8, out + unit * columns);
        }
    }

    const Shape shape_;
    const Sequences& sequences_;
    const Backward& backward_;
    const int64_t rows_, deep_, features_;
    const Element* weights_ih_;
    const Element* weights_hh_;
    const Element* gates_;
    Element* d_gates_;     // [rows padded][gates]
    float* dc_;            // [B][units], like dh_
    float* dh_;
    float* bias_;          // [gates]
    Element* transposed_;  // [features][rows padded]
    int64_t* places_;      // [rows]
    Element* panel_;       // per thread: da of a group, packed as B: [4][rows padded][width]
    float* tile_;          // per thread: tile of a product
    int64_t tile_rows_, bytes_;
};

inline void backward(Layer layer, Sequences sequences, Backward backward, int threads) {
    BackwardPass pass(layer, sequences, backward, threads);
#pragma omp parallel num_threads(threads)
    pass.run(omp_get_thread_num(), omp_get_num_threads());
}
