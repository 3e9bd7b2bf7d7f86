#include "engine/transformer.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace condensed::engine {

using cache::CondensedCache;
using cache::PendingRows;
using kernels::KvRun;
using kernels::Memory;

namespace {

/// A matrix in the backend's memory, handed out by whole rows.
template <typename T>
class Rows {
 public:
  Rows(kernels::Backend& backend, std::int64_t max_rows, std::int64_t width)
      : memory_(backend.allocate(static_cast<std::size_t>(max_rows * width) * sizeof(T))),
        width_(static_cast<std::size_t>(width)) {}

  std::span<T> rows(std::int64_t first, std::int64_t n) const {
    return {reinterpret_cast<T*>(memory_.get()) + static_cast<std::size_t>(first) * width_,
            static_cast<std::size_t>(n) * width_};
  }
  std::size_t width() const { return width_; }

 private:
  Memory memory_;
  std::size_t width_;
};

using RowBuffer = Rows<float>;

std::span<const float> vector_of(const Memory& memory, int size) {
  return {reinterpret_cast<const float*>(memory.get()), static_cast<std::size_t>(size)};
}

/// A slice's place in the batch, and how far a cyclic stage has brought it.
struct SliceRows {
  std::int64_t first = 0;  // row in the batch
  std::int64_t n = 0;
  std::int64_t n_done = 0;        // leading tokens whose result is final
  std::int64_t active_first = 0;  // where its other tokens stand among the rows now being computed
  float moved = 0;                // largest change of a pending key or value in this pass

  std::int64_t n_active() const { return n - n_done; }
};

}  // namespace

// Rows: the batch holds every token of every slice, in order. What a pass computes are the active rows, all
// of them in the first pass, packed at the front of the activations.
struct Transformer::State {
  State(Model& model_in, std::int64_t max_rows_in, kernels::DType cache_dtype);

  void place(std::span<const Slice> slices);
  void run_stage(std::span<const Slice> slices, const LayerStage& stage, const PromptOptions& prompt);
  void pack_active();
  void finish_pass(const PromptOptions& prompt, std::int64_t pass);
  void run_layer(std::span<const Slice> slices, const LayerStep& step);
  void compute_kv(const LayerStep& step, const LayerWeights& weights);
  void attention(std::span<const Slice> slices, const LayerStep& step, const LayerWeights& weights);
  void collect_runs(std::span<const Slice> slices, const LayerStep& step);
  void mlp(const LayerWeights& weights);
  void compute_logits(std::span<const Slice> slices);
  void append(std::span<const Slice> slices);

  template <typename T>
  std::span<T> active(const Rows<T>& buffer) const {
    return buffer.rows(0, n_active);
  }

  Model& model;
  const ModelConfig& config;
  kernels::Backend& backend;
  cache::RotaryPhase phase;
  cache::CacheShape shape;
  std::int64_t max_rows;

  Rows<double> hidden;                    // [rows, hidden], final after the stages run so far
  Rows<double> x;                         // [active, hidden], the residual stream
  RowBuffer normed;                       // [active, hidden]
  RowBuffer query_stream;                 // [active, q_dim], rotated by place in the stream
  RowBuffer query_sink;                   // [active, q_dim], rotated by place in the cache
  RowBuffer attended;                     // [active, q_dim]
  RowBuffer key;                          // [active, kv_dim]
  RowBuffer value;                        // [active, kv_dim]
  RowBuffer gated;                        // [active, intermediate]
  RowBuffer angles_stream;                // [rows, head_dim]
  RowBuffer angles_sink;                  // [rows, head_dim]
  RowBuffer active_angles_stream;         // [active, head_dim]
  RowBuffer active_angles_sink;           // [active, head_dim]
  RowBuffer device_logits;                // [rows asked for, vocab]
  std::vector<RowBuffer> pending_keys;    // [n_owners] of [rows, kv_dim]: rotated, not yet in a cache
  std::vector<RowBuffer> pending_values;  // [n_owners] of [rows, kv_dim]

  std::vector<SliceRows> slice_rows;
  std::int64_t n_rows = 0;
  std::int64_t n_active = 0;
  bool frames_differ = false;  // some stream has evicted: its sinks need queries of their own
  std::int64_t most_passes = 1;
  bool appending = false;  // tokens join caches, or an exception kept them from it

  std::vector<std::int32_t> tokens;  // [rows]
  std::vector<float> host_angles;    // [rows, head_dim]
  std::vector<KvRun> runs;
  std::vector<std::int32_t> run_begin;  // [active + 1]
  const LayerStep* runs_for = nullptr;  // the layer `runs` were collected for in this pass
  std::vector<PendingRows> pending;     // [n_owners], of one slice
  std::vector<float> logits;            // [rows asked for, vocab]
};

Transformer::State::State(Model& model_in, std::int64_t max_rows_in, kernels::DType cache_dtype)
    : model(model_in),
      config(model.config),
      backend(*model.backend),
      phase(rotary_frequencies(config)),
      shape{.n_owners = model.plan.n_owners(),
            .n_kv_heads = config.n_kv_heads,
            .head_dim = config.head_dim,
            .dtype = cache_dtype},
      max_rows(max_rows_in),
      hidden(backend, max_rows, config.hidden_size),
      x(backend, max_rows, config.hidden_size),
      normed(backend, max_rows, config.hidden_size),
      query_stream(backend, max_rows, std::int64_t{config.n_heads} * config.head_dim),
      query_sink(backend, max_rows, std::int64_t{config.n_heads} * config.head_dim),
      attended(backend, max_rows, std::int64_t{config.n_heads} * config.head_dim),
      key(backend, max_rows, std::int64_t{config.n_kv_heads} * config.head_dim),
      value(backend, max_rows, std::int64_t{config.n_kv_heads} * config.head_dim),
      gated(backend, max_rows, config.intermediate_size),
      angles_stream(backend, max_rows, config.head_dim),
      angles_sink(backend, max_rows, config.head_dim),
      active_angles_stream(backend, max_rows, config.head_dim),
      active_angles_sink(backend, max_rows, config.head_dim),
      device_logits(backend, max_rows, config.vocab_size),
      host_angles(static_cast<std::size_t>(max_rows * config.head_dim)),
      pending(static_cast<std::size_t>(shape.n_owners)) {
  for (int owner = 0; owner < shape.n_owners; ++owner) {
    pending_keys.emplace_back(backend, max_rows, key.width());
    pending_values.emplace_back(backend, max_rows, value.width());
  }
}

/// Lays the slices out as rows: tokens, angles, embeddings.
void Transformer::State::place(std::span<const Slice> slices) {
  slice_rows.clear();
  tokens.clear();
  frames_differ = false;
  for (const Slice& slice : slices) {
    const auto n = static_cast<std::int64_t>(slice.tokens.size());
    slice_rows.push_back({.first = static_cast<std::int64_t>(tokens.size()), .n = n});
    tokens.insert(tokens.end(), slice.tokens.begin(), slice.tokens.end());
    frames_differ |= slice.cache->cache_position(n - 1) != slice.cache->position() + n - 1;
  }
  n_rows = static_cast<std::int64_t>(tokens.size());
  assert(n_rows >= 1 && n_rows <= max_rows);

  const auto head_dim = static_cast<std::size_t>(config.head_dim);
  const auto fill_angles = [&](const RowBuffer& buffer, auto&& position_of) {
    for (std::size_t s = 0; s < slices.size(); ++s) {
      for (std::int64_t i = 0; i < slice_rows[s].n; ++i) {
        const auto row = static_cast<std::size_t>(slice_rows[s].first + i);
        phase.angles(position_of(*slices[s].cache, i),
                     std::span(host_angles).subspan(row * head_dim, head_dim));
      }
    }
    const std::span angles = std::span(host_angles).first(static_cast<std::size_t>(n_rows) * head_dim);
    backend.upload(std::as_bytes(angles), std::as_writable_bytes(buffer.rows(0, n_rows)));
  };
  fill_angles(angles_stream,
              [](const CondensedCache& cache, std::int64_t i) { return cache.position() + i; });
  if (frames_differ) {
    fill_angles(angles_sink,
                [](const CondensedCache& cache, std::int64_t i) { return cache.cache_position(i); });
  }
  backend.embed(*model.weights.embedding, tokens, hidden.rows(0, n_rows));
}

/// Packs the rows that are not final yet at the front of the activations.
void Transformer::State::pack_active() {
  const auto pack = [&](std::int64_t from, std::int64_t to, std::int64_t n) {
    backend.copy(hidden.rows(from, n), x.rows(to, n));
    backend.copy(angles_stream.rows(from, n), active_angles_stream.rows(to, n));
    if (frames_differ) {
      backend.copy(angles_sink.rows(from, n), active_angles_sink.rows(to, n));
    }
  };
  n_active = 0;
  for (SliceRows& rows : slice_rows) {
    rows.active_first = n_active;
    n_active += rows.n_active();
  }
  if (n_active == n_rows) {
    pack(0, 0, n_rows);
  } else {
    for (SliceRows& rows : slice_rows) {
      rows.moved = 0;
      if (rows.n_active() > 0) {
        pack(rows.first + rows.n_done, rows.active_first, rows.n_active());
      }
    }
  }
  runs_for = nullptr;
}

void Transformer::State::run_stage(std::span<const Slice> slices, const LayerStage& stage,
                                   const PromptOptions& prompt) {
  for (SliceRows& rows : slice_rows) {
    rows.n_done = 0;
  }
  // Slices of one token are exact after one pass: they see only what is final, or themselves.
  const bool iterate = stage.cyclic && n_rows > static_cast<std::int64_t>(slices.size());
  if (iterate) {
    // The iteration starts from zero keys and values (arXiv 2405.10637, section 2.3).
    for (int layer = stage.first; layer < stage.end; ++layer) {
      if (const LayerStep& step = model.plan.layers[layer]; step.owns) {
        backend.fill_zero(pending_keys[step.owner_written].rows(0, n_rows));
        backend.fill_zero(pending_values[step.owner_written].rows(0, n_rows));
      }
    }
  }
  std::int64_t pass = 0;
  for (pack_active(); n_active > 0; pack_active()) {
    ++pass;
    for (int layer = stage.first; layer < stage.end; ++layer) {
      run_layer(slices, model.plan.layers[layer]);
    }
    if (iterate) {
      finish_pass(prompt, pass);
    } else {
      backend.copy(active(x), hidden.rows(0, n_rows));
      break;
    }
  }
  most_passes = std::max(most_passes, pass);
}

/// What is final after this pass of a cyclic stage leaves the active rows, its result in `hidden`.
void Transformer::State::finish_pass(const PromptOptions& prompt, std::int64_t pass) {
  for (SliceRows& rows : slice_rows) {
    if (rows.n_active() == 0) {
      continue;
    }
    // One more token becomes exact with every pass: all that it attends to within the slice already was.
    std::int64_t n_final = 1;
    const bool settled = prompt.mode == PromptMode::passes
                             ? pass >= prompt.passes
                             : static_cast<double>(rows.moved) <= prompt.tolerance;
    if (settled) {
      n_final = rows.n_active();
    }
    backend.copy(x.rows(rows.active_first, n_final), hidden.rows(rows.first + rows.n_done, n_final));
    rows.n_done += n_final;
  }
}

void Transformer::State::run_layer(std::span<const Slice> slices, const LayerStep& step) {
  const LayerWeights& weights = model.weights.layers[step.layer];
  const auto eps = static_cast<float>(config.rms_norm_eps);

  backend.rms_norm(active(x), vector_of(weights.attention_norm, config.hidden_size), eps, active(normed));
  if (step.owns) {
    compute_kv(step, weights);
  }
  attention(slices, step, weights);
  backend.rms_norm(active(x), vector_of(weights.mlp_norm, config.hidden_size), eps, active(normed));
  mlp(weights);
}

/// The layer's own keys and values join the pending rows; how far they moved there is noted per slice.
void Transformer::State::compute_kv(const LayerStep& step, const LayerWeights& weights) {
  const RowBuffer& keys = pending_keys[step.owner_written];
  const RowBuffer& values = pending_values[step.owner_written];
  const bool first_pass = n_active == n_rows;
  const RowBuffer& fresh_keys = first_pass ? keys : key;
  const RowBuffer& fresh_values = first_pass ? values : value;
  backend.matmul(*weights.k_proj, active(normed), active(fresh_keys));
  backend.matmul(*weights.v_proj, active(normed), active(fresh_values));
  backend.rotate(active(fresh_keys), active(active_angles_stream), config.head_dim, active(fresh_keys));

  for (SliceRows& rows : slice_rows) {
    if (first_pass) {
      rows.moved = std::numeric_limits<float>::infinity();
    } else if (rows.n_active() > 0) {
      const auto replace = [&](const RowBuffer& fresh, const RowBuffer& old) {
        const std::span<float> from = fresh.rows(rows.active_first, rows.n_active());
        const std::span<float> to = old.rows(rows.first + rows.n_done, rows.n_active());
        rows.moved = std::max(rows.moved, backend.max_abs_difference(from, to));
        backend.copy(from, to);
      };
      replace(key, keys);
      replace(value, values);
    }
  }
}

void Transformer::State::attention(std::span<const Slice> slices, const LayerStep& step,
                                   const LayerWeights& weights) {
  backend.matmul(*weights.q_proj, active(normed), active(query_stream));
  if (frames_differ) {
    backend.rotate(active(query_stream), active(active_angles_sink), config.head_dim, active(query_sink));
  }
  backend.rotate(active(query_stream), active(active_angles_stream), config.head_dim, active(query_stream));

  collect_runs(slices, step);
  backend.attend({.n_heads = config.n_heads, .n_kv_heads = config.n_kv_heads, .head_dim = config.head_dim},
                 active(query_stream), active(frames_differ ? query_sink : query_stream), runs, run_begin,
                 active(attended));
  backend.matmul_add(*weights.o_proj, active(attended), active(x));
}

void Transformer::State::collect_runs(std::span<const Slice> slices, const LayerStep& step) {
  // The condensed layers all see the same: collect once for each run of them.
  if (runs_for != nullptr && runs_for->owner == step.owner && runs_for->visibility == step.visibility) {
    return;
  }
  runs_for = &step;
  runs.clear();
  run_begin.assign(1, 0);
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const SliceRows& rows = slice_rows[s];
    const PendingRows own{.keys = pending_keys[step.owner].rows(rows.first, rows.n).data(),
                          .values = pending_values[step.owner].rows(rows.first, rows.n).data()};
    for (std::int64_t i = rows.n_done; i < rows.n; ++i) {
      slices[s].cache->visible_runs(step.owner, i, step.visibility, own, runs);
      run_begin.push_back(static_cast<std::int32_t>(runs.size()));
    }
  }
}

void Transformer::State::mlp(const LayerWeights& weights) {
  backend.swiglu(*weights.gate_proj, *weights.up_proj, active(normed), active(gated));
  backend.matmul_add(*weights.down_proj, active(gated), active(x));
}

void Transformer::State::compute_logits(std::span<const Slice> slices) {
  std::int64_t n = 0;
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const SliceRows& rows = slice_rows[s];
    if (slices[s].logits_for == LogitsFor::none) {
      continue;
    }
    const std::int64_t wanted = slices[s].logits_for == LogitsFor::all ? rows.n : 1;
    backend.copy(hidden.rows(rows.first + rows.n - wanted, wanted), x.rows(n, wanted));
    n += wanted;
  }
  logits.resize(static_cast<std::size_t>(n * config.vocab_size));
  if (n == 0) {
    return;
  }
  backend.rms_norm(x.rows(0, n), vector_of(model.weights.final_norm, config.hidden_size),
                   static_cast<float>(config.rms_norm_eps), normed.rows(0, n));
  backend.matmul(model.weights.output_matrix(), normed.rows(0, n), device_logits.rows(0, n));
  backend.download(std::as_bytes(device_logits.rows(0, n)), std::as_writable_bytes(std::span(logits)));
}

void Transformer::State::append(std::span<const Slice> slices) {
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const SliceRows& rows = slice_rows[s];
    for (std::size_t owner = 0; owner < pending.size(); ++owner) {
      pending[owner] = {.keys = pending_keys[owner].rows(rows.first, rows.n).data(),
                        .values = pending_values[owner].rows(rows.first, rows.n).data()};
    }
    slices[s].cache->append(rows.n, pending);
  }
}

Transformer::Transformer(Model& model, std::int64_t max_rows, kernels::DType cache_dtype)
    : state_(std::make_unique<State>(model, max_rows, cache_dtype)) {}

Transformer::~Transformer() = default;

cache::CacheShape Transformer::cache_shape() const {
  return state_->shape;
}
std::int64_t Transformer::max_rows() const {
  return state_->max_rows;
}
std::span<const float> Transformer::logits() const {
  return state_->logits;
}
bool Transformer::caches_intact() const {
  return !state_->appending;
}
std::int64_t Transformer::passes() const {
  return state_->most_passes;
}

void Transformer::run(std::span<const Slice> slices, const PromptOptions& prompt) {
  state_->most_passes = 1;
  state_->place(slices);
  for (const LayerStage& stage : state_->model.plan.stages) {
    state_->run_stage(slices, stage, prompt);
  }
  state_->compute_logits(slices);
  state_->appending = true;
  state_->append(slices);
  state_->appending = false;
}

}  // namespace condensed::engine
