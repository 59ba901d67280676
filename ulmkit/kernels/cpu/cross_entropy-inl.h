// Softmax cross-entropy of a linear layer, and its gradients, in blocks of rows, so that only a block's logits are held in
// memory. With l = W x + b, for a row with target k:
//
//     nll = log sum_j e^{l_j} - l_k;  dl = (softmax(l) - onehot(k)) s;  dx = W^T dl;  dW = dl x^T;  db = dl
//
// where s is the row's weight times the task's scale.
//
// Classes are divided among the threads in strips of 4 panels of 4 groups. Until the sums over all classes are known, a
// strip stores e^{l - highest} in place of the logits, where highest is the row's largest logit in a panel.

class CrossEntropyPass {
public:
    CrossEntropyPass(const CrossEntropy& task, int threads)
        : task_(task), features_wide_(round_up(task.features, maximum(Engine::depth, width))),
          feature_groups_((task.features + width - 1) / width), strips_((task.classes + strip - 1) / strip),
          block_(minimum(task.rows, maximum(32, task.held_bytes / (strips_ * strip * int64_t(sizeof(Element))) / 32 * 32))),
          deep_(round_up(block_, maximum(Engine::depth, width))) {
        Workspace workspace(task.workspace);
        x_ = workspace.take<Element>((task.rows + 16) * features_wide_);
        by_class_ = workspace.take<Element>(strips_ * strip * features_wide_);
        bias_ = workspace.take<float>(strips_ * strip);
        highest_of_row_ = workspace.take<float>(threads * block_);
        sum_of_row_ = workspace.take<float>(threads * block_);
        target_logit_ = workspace.take<float>(block_);
        log_sum_ = workspace.take<float>(block_);
        tile_ = workspace.take<float>(threads * (tile_rows + 16) * panel);
        rows_ = workspace.take<Element>(threads * width * features_wide_);
        if (task.dx != nullptr) {
            by_feature_ = workspace.take<Element>(feature_groups_ * strips_ * strip * width);
            transposed_ = workspace.take<Element>((features_wide_ + 16) * deep_);
            held_ = workspace.take<Element>(strips_ * (deep_ + 16) * strip);
            highest_ = workspace.take<float>(strips_ * 4 * block_);
            packed_ = workspace.take<Element>(threads * panel * deep_);
            dx_ = workspace.take<float>(threads * block_ * feature_groups_ * width);
        }
        bytes_ = workspace.bytes();
    }

    int64_t workspace_bytes() const { return bytes_; }

    // The work of one thread; all threads call it together.
    void run(int thread, int threads) {
        [[maybe_unused]] const Engine::Session session;
        const Slice strips(strips_, thread, threads);
        copy_inputs(Slice(task_.rows, thread, threads));
        for (int64_t n = strips.first; n < strips.last; ++n) pack_strip(n, rows_ + thread * width * features_wide_);
        for (int64_t first = 0; first < task_.rows; first += block_) {
            const int64_t rows = minimum(block_, task_.rows - first);
#pragma omp barrier
            sum_exponentials(strips, first, rows, thread);
            const Slice groups(features_wide_ / width, thread, threads);
            if (task_.dx != nullptr)
                Engine::transpose(rows, deep_, (groups.last - groups.first) * width,
                                  x_ + first * features_wide_ + groups.first * width, features_wide_,
                                  transposed_ + groups.first * width * deep_, deep_);
#pragma omp barrier
            const Slice slice(rows, thread, threads);
            combine(slice, first, threads);
            if (task_.dx == nullptr) continue;
#pragma omp barrier
            for (int64_t n = strips.first; n < strips.last; ++n)
                differentiate(n, n == strips.first, first, rows, thread);
#pragma omp barrier
            add_up(slice, first, threads);
        }
    }

private:
    static constexpr int64_t panel = 4 * width, strip = 4 * panel;  // classes
    static constexpr int64_t tile_rows = 96;

    void copy_inputs(Slice rows) {
        for (int64_t row = rows.first; row < rows.last; ++row) {
            Element* to = x_ + row * features_wide_;
            std::memcpy(to, static_cast<const Element*>(task_.x) + row * task_.features, task_.features * sizeof(Element));
            std::memset(to + task_.features, 0, (features_wide_ - task_.features) * sizeof(Element));
        }
    }

    // Packs the weights of a strip of classes twice: with features as K for the logits and, for dx, with classes as K.
    void pack_strip(int64_t n, Element* rows) {
        for (int64_t group = n * strip / width; group < (n + 1) * strip / width; ++group) {
            for (int64_t unit = 0; unit < width; ++unit) {
                const int64_t c = group * width + unit;
                bias_[c] = c < task_.classes && task_.bias != nullptr ? task_.bias[c] : 0.0f;
                if (c < task_.classes)
                    convert_row(task_.weight + c * task_.features, nullptr, 1.0f, task_.features, features_wide_,
                                rows + unit * features_wide_);
                else
                    std::memset(rows + unit * features_wide_, 0, features_wide_ * sizeof(Element));
            }
            Engine::pack_columns(features_wide_, rows, features_wide_, by_class_ + group * features_wide_ * width);
            for (int64_t feature = 0; task_.dx != nullptr && feature < feature_groups_; ++feature)
                Engine::pack_rows(width, rows + feature * width, features_wide_,
                                  by_feature_ + (feature * strips_ * strip + group * width) * width);
        }
    }

    // Computes the logits of a block of rows, a tile at a time, and for each row the largest one and the sum of
    // e^{l - highest}, over the thread's classes.
    void sum_exponentials(Slice strips, int64_t first, int64_t rows, int thread) {
        float* highest = highest_of_row_ + thread * block_;
        float* sum = sum_of_row_ + thread * block_;
        float* tile = tile_ + thread * (tile_rows + 16) * panel;
        for (int64_t row = 0; row < rows; ++row) {
            highest[row] = -__builtin_inff();
            sum[row] = 0.0f;
        }
        const int64_t each = features_wide_ * width, end = minimum(strips.last * strip, task_.classes);
        for (int64_t c = strips.first * strip; c < end; c += panel)
            for (int64_t row = 0; row < rows; row += tile_rows) {
                const int64_t count = minimum(tile_rows, rows - row);
                Engine::product(count, 4, features_wide_, x_ + (first + row) * features_wide_, features_wide_,
                                by_class_ + c / width * each, each, tile, panel, false);
                for (int64_t n = 0; n < count; ++n)
                    add_row(c, first + row + n, row + n, tile + n * panel, highest[row + n], sum[row + n]);
            }
    }

    void add_row(int64_t c, int64_t row, int64_t row_of_block, const float* logits, float& highest, float& sum) {
        const int64_t target = task_.targets[row] - c;
        Floats l[4];
        for (int64_t n = 0; n < 4; ++n) l[n] = load(logits + n * width) + load(bias_ + c + n * width);
        if (0 <= target && target < panel) target_logit_[row_of_block] = l[target / width][target % width];
        if (c + panel > task_.classes)
            for (int64_t n = 0; n < 4; ++n)
                for (int64_t lane = 0; lane < width; ++lane)
                    if (c + n * width + lane >= task_.classes) l[n][lane] = -__builtin_inff();
        Floats top = l[0];
        for (int64_t n = 1; n < 4; ++n) top = l[n] > top ? l[n] : top;
        float high = top[0];
        for (int64_t lane = 1; lane < width; ++lane) high = top[lane] > high ? top[lane] : high;
        const bool has_none = high == -__builtin_inff();  // no class of the panel is possible
        Floats total{};
        const int64_t part = c % strip;
        Element* held = task_.dx == nullptr ? nullptr : held_row(c / strip, row_of_block) + part;
        for (int64_t n = 0; n < 4; ++n) {
            const Floats e = exp_of_negative(has_none ? l[n] : l[n] - high);
            total += e;
            if (held != nullptr) Engine::store(held + n * width, e);
        }
        if (held != nullptr) highest_[c / panel * block_ + row_of_block] = high;
        float here = 0.0f;
        for (int64_t lane = 0; lane < width; ++lane) here += total[lane];
        if (!has_none)
            join(high, here, highest, sum);
        else if (here != here)
            sum = here;
    }

    // Merges (high, here), the largest logit and the sum of one set of logits, into (highest, sum) of another.
    static void join(float high, float here, float& highest, float& sum) {
        const float both = high > highest ? high : highest;
        sum = sum * exp_of_negative(all(highest - both))[0] + here * exp_of_negative(all(high - both))[0];
        highest = both;
    }

    Element* held_row(int64_t n, int64_t row) { return held_ + (n * (deep_ + 16) + row) * strip; }

    void combine(Slice rows, int64_t first, int threads) {
        for (int64_t row = rows.first; row < rows.last; ++row) {
            float highest = highest_of_row_[row], sum = sum_of_row_[row];
            for (int thread = 1; thread < threads; ++thread)
                if (sum_of_row_[thread * block_ + row] != 0.0f)
                    join(highest_of_row_[thread * block_ + row], sum_of_row_[thread * block_ + row], highest, sum);
            log_sum_[row] = highest + __builtin_logf(sum);
            task_.nll[first + row] = log_sum_[row] - target_logit_[row];
        }
    }

    // Computes dl of a strip, and adds its share to db, dW and the thread's part of dx.
    void differentiate(int64_t n, bool is_first, int64_t first, int64_t rows, int thread) {
        Element* packed = packed_ + thread * panel * deep_;
        float* tile = tile_ + thread * (tile_rows + 16) * panel;
        for (int64_t row = rows; row < deep_; ++row) std::memset(held_row(n, row), 0, strip * sizeof(Element));
        for (int64_t part = 0; part < strip; part += panel) {
            const int64_t c = n * strip + part;
            if (c >= task_.classes) {
                for (int64_t row = 0; row < rows; ++row)
                    std::memset(held_row(n, row) + part, 0, panel * sizeof(Element));
                continue;
            }
            differentiate_logits(n, part, first, rows);
            for (int64_t group = 0; group < 4; ++group)
                Engine::pack_rows(deep_, held_row(n, 0) + part + group * width, strip, packed + group * deep_ * width);
            for (int64_t feature = 0; feature < task_.features; feature += tile_rows) {
                const int64_t count = minimum(tile_rows, task_.features - feature);
                Engine::product(count, 4, deep_, transposed_ + feature * deep_, deep_, packed, deep_ * width, tile, panel,
                                false);
                for (int64_t column = 0; column < minimum(panel, task_.classes - c); column += width)
                    write_columns(tile + column, panel, count, minimum(width, task_.classes - c - column),
                                  task_.d_weight + (c + column) * task_.features + feature, task_.features, first > 0);
            }
        }
        const int64_t stride = feature_groups_ * width, classes = strips_ * strip;
        for (int64_t group = 0; group < feature_groups_; group += 4)
            Engine::product(rows, minimum(4, feature_groups_ - group), strip, held_row(n, 0), strip,
                            by_feature_ + (group * classes + n * strip) * width, classes * width,
                            dx_ + thread * block_ * stride + group * width, stride, !is_first);
    }

    void differentiate_logits(int64_t n, int64_t part, int64_t first, int64_t rows) {
        const int64_t c = n * strip + part;
        Floats db[4] = {};
        for (int64_t row = 0; row < rows; ++row) {
            const float scale =
                task_.row_weights == nullptr ? task_.scale : task_.row_weights[first + row] * task_.scale;
            const float factor = exp_of_negative(all(highest_[c / panel * block_ + row] - log_sum_[row]))[0] * scale;
            Element* held = held_row(n, row) + part;
            const int64_t target = task_.targets[first + row] - c;
            for (int64_t group = 0; group < 4; ++group) {
                Floats dl = Engine::load(held + group * width) * factor;
                if (group * width <= target && target < (group + 1) * width) dl[target - group * width] -= scale;
                db[group] += dl;
                Engine::store(held + group * width, dl);
            }
        }
        for (int64_t group = 0; group < 4 && task_.d_bias != nullptr; ++group) {
            const int64_t from = c + group * width, count = minimum(width, task_.classes - from);
            if (count <= 0) break;
            const Floats before = first > 0 ? load_some(task_.d_bias + from, count) : Floats{};
            store_some(task_.d_bias + from, before + db[group], count);
        }
    }

    // Adds up dx from the parts of the threads that have classes.
    void add_up(Slice rows, int64_t first, int threads) {
        const int64_t stride = feature_groups_ * width;
        for (int64_t row = rows.first; row < rows.last; ++row)
            for (int64_t group = 0; group < feature_groups_; ++group) {
                Floats sum{};
                for (int thread = 0; thread < threads; ++thread) {
                    const Slice strips(strips_, thread, threads);
                    if (strips.first < strips.last)
                        sum += load(dx_ + (thread * block_ + row) * stride + group * width);
                }
                Element* to = static_cast<Element*>(task_.dx) + (first + row) * task_.features + group * width;
                store_elements(to, sum, minimum(width, task_.features - group * width));
            }
    }

    const CrossEntropy& task_;
    const int64_t features_wide_, feature_groups_, strips_, block_, deep_;
    int64_t bytes_;
    Element* x_;                      // [N][features padded]
    Element* by_class_;               // W^T: [class group][features padded][width]
    float* bias_;                     // [classes padded]
    float *highest_of_row_, *sum_of_row_;  // [threads][block]
    float *target_logit_, *log_sum_;  // [block]
    float* tile_;                     // per thread: tile of a product
    Element* rows_;                   // per thread: group of W while it is packed
    Element* by_feature_ = nullptr;   // W: [feature group][classes padded][width]
    Element* transposed_ = nullptr;   // x^T of a block: [features][block padded]
    Element* held_ = nullptr;         // [strip][block padded][classes of a strip]: e^{l - highest}, then dl
    float* highest_ = nullptr;        // [panel][block]
    Element* packed_ = nullptr;       // per thread: dl of a panel, packed as B: [4][block padded][width]
    float* dx_ = nullptr;             // [threads][block][features padded]
};

inline int64_t cross_entropy_bytes(CrossEntropy task, int threads) {
    return CrossEntropyPass(task, threads).workspace_bytes();
}

inline void cross_entropy(CrossEntropy task, int threads) {
    CrossEntropyPass pass(task, threads);
#pragma omp parallel num_threads(threads)
    pass.run(omp_get_thread_num(), omp_get_num_threads());
}
