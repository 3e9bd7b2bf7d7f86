#include "engine/transformer.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>
#include <limits>
#include <utility>

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

/// A step of one token of each stream, which the backend may do at once; forgotten when something throws.
class DecodeStep {
 public:
  DecodeStep(kernels::Backend& backend, std::int64_t rows) : backend_(backend) { backend_.begin_step(rows); }
  ~DecodeStep() {
    if (!ended_) {
      backend_.abandon_step();
    }
  }
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  void end() {
    ended_ = true;
    backend_.end_step();
  }

 private:
  kernels::Backend& backend_;
  bool ended_ = false;
};

/// Passes of an iteration: their rows get fewer, and the backend computes all as it does the first.
class Passes {
 public:
  Passes(kernels::Backend& backend, std::int64_t rows) : backend_(backend) { backend_.keep_layout(rows); }
  ~Passes() { backend_.keep_layout(0); }
  Passes(const Passes&) = delete;
  Passes& operator=(const Passes&) = delete;

 private:
  kernels::Backend& backend_;
};

std::span<const float> vector_of(const Memory& memory, int size) {
  return {reinterpret_cast<const float*>(memory.get()), static_cast<std::size_t>(size)};
}

/// A slice's place in the batch, and how far a cyclic stage has brought it.
struct SliceRows {
  std::int64_t first = 0;  // row in the batch
  std::int64_t n = 0;
  std::int64_t n_done = 0;        // leading tokens whose result is final
  std::int64_t active_first = 0;  // where its other tokens stand among the rows now being computed
  float moved = 0;                // largest change of a pending key or value in the last pass

  std::int64_t n_active() const { return n - n_done; }
};

}  // namespace

// Rows: the batch holds every token of every slice, in order. What a pass computes are the active rows, all
// of them in the first pass, packed at the front of the activations.
struct Transformer::State {
  State(Model& model_in, std::int64_t max_rows_in, kernels::DType cache_dtype);

  void place(std::span<const Slice> slices);
  void run_stage(std::span<const Slice> slices, const LayerStage& stage, const PromptOptions& prompt);
  void count_active();
  void pack_active();
  void run_layers(std::span<const Slice> slices, const LayerStage& stage);
  void finish_pass(const PromptOptions& prompt, std::int64_t pass);
  void run_layer(std::span<const Slice> slices, const LayerStep& step);
  void project(const LayerStep& step, const LayerWeights& weights);
  void join_pending(const LayerStep& step);
  kernels::Angles angles() const;
  void attention(std::span<const Slice> slices, const LayerStep& step, const LayerWeights& weights);
  void collect_runs(std::span<const Slice> slices, const LayerStep& step);
  void mlp(const LayerWeights& weights);
  void note_moves(const PromptOptions& prompt);
  void pack_final(std::span<const Slice> slices);
  void compute_logits(std::span<const Slice> slices);
  void download_results();
  void append(std::span<const Slice> slices);
  void append_one_each(std::span<const Slice> slices);
  void compute(std::span<const Slice> slices, const PromptOptions& prompt);
  void decode(std::span<const Slice> slices);

  template <typename T>
  std::span<T> active(const Rows<T>& buffer) const {
    return buffer.rows(0, n_active);
  }
  /// Of pending keys or values, an owner's.
  std::span<float> rows_of(const RowBuffer& buffer, int owner, std::int64_t first, std::int64_t n) const {
    return buffer.rows(owner * max_rows + first, n);
  }

  Model& model;
  const ModelConfig& config;
  kernels::Backend& backend;
  cache::RotaryPhase phase;
  cache::CacheShape shape;
  std::int64_t max_rows;

  Rows<double> hidden;                     // [rows, hidden], final after the stages run so far
  Rows<double> x;                          // [active, hidden]
  const Rows<double>* residual = nullptr;  // of the stage under way: x, or hidden where one pass is all
  RowBuffer normed;                        // [active, hidden]
  RowBuffer query_stream;                  // [active, q_dim], rotated by place in the stream
  RowBuffer query_sink;                    // [active, q_dim], rotated by place in the cache
  RowBuffer attended;                      // [active, q_dim]
  RowBuffer key;                           // [active, kv_dim]
  RowBuffer value;                         // [active, kv_dim]
  RowBuffer gated;                         // [active, intermediate]
  RowBuffer angles_stream;                 // [rows, head_dim]
  RowBuffer angles_sink;                   // [rows, head_dim]
  RowBuffer active_angles_stream;          // [active, head_dim]
  RowBuffer active_angles_sink;            // [active, head_dim]
  RowBuffer device_logits;                 // [rows asked for, vocab]
  Rows<std::int32_t> device_tokens;        // [rows of device_logits]
  RowBuffer moved;                         // [slices], of the pass under way
  RowBuffer pending_keys;                  // [n_owners, max_rows, kv_dim]: rotated, not yet in a cache
  RowBuffer pending_values;                // [n_owners, max_rows, kv_dim]

  std::vector<SliceRows> slice_rows;
  std::int64_t n_rows = 0;
  std::int64_t n_active = 0;
  std::int64_t n_logits = 0;  // rows asked for; those that want no more than a token behind them
  std::int64_t n_chosen = 0;
  bool frames_differ = false;  // some stream has evicted: its sinks need queries of their own
  std::int64_t most_passes = 1;
  bool appending = false;  // tokens join caches, or an exception kept them from it

  std::vector<std::int32_t> tokens;  // [rows]
  std::vector<float> host_angles;    // [rows, head_dim]
  std::vector<KvRun> runs;
  std::vector<std::int32_t> run_begin;        // [active + 1]
  const LayerStep* runs_for = nullptr;        // the layer `runs` were collected for in this pass
  std::vector<PendingRows> pending;           // [n_owners], of one slice
  std::vector<kernels::KvSlot> slots;         // [n_owners, slices]: where a step's tokens go
  std::vector<Slice> ordered;                 // the slices of a step of one token each
  std::vector<float> host_moved;              // [slices]
  std::vector<float> logits;                  // [rows asked for, vocab]
  std::vector<kernels::TokenChoice> choices;  // [rows of device_logits]
  std::vector<std::int32_t> chosen_tokens;    // [slices that asked for them]
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
      device_tokens(backend, max_rows, 1),
      moved(backend, max_rows, 1),
      pending_keys(backend, shape.n_owners * max_rows, key.width()),
      pending_values(backend, shape.n_owners * max_rows, value.width()),
      host_angles(static_cast<std::size_t>(max_rows * config.head_dim)),
      pending(static_cast<std::size_t>(shape.n_owners)) {}

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

/// Gives the rows that are not final yet their places at the front of the activations.
void Transformer::State::count_active() {
  n_active = 0;
  for (SliceRows& rows : slice_rows) {
    rows.active_first = n_active;
    n_active += rows.n_active();
  }
  runs_for = nullptr;
}

/// Packs what a pass starts from there.
void Transformer::State::pack_active() {
  count_active();
  if (n_active == n_rows) {
    backend.copy(hidden.rows(0, n_rows), x.rows(0, n_rows));
    return;
  }
  for (const SliceRows& rows : slice_rows) {
    const std::int64_t from = rows.first + rows.n_done;
    const std::int64_t to = rows.active_first;
    const std::int64_t n = rows.n_active();
    if (n == 0) {
      continue;
    }
    backend.copy(hidden.rows(from, n), x.rows(to, n));
    backend.copy(angles_stream.rows(from, n), active_angles_stream.rows(to, n));
    if (frames_differ) {
      backend.copy(angles_sink.rows(from, n), active_angles_sink.rows(to, n));
    }
  }
}

/// Of the active rows.
kernels::Angles Transformer::State::angles() const {
  const bool all = n_active == n_rows;
  kernels::Angles angles{.stream = active(all ? angles_stream : active_angles_stream),
                         .head_dim = config.head_dim};
  if (frames_differ) {
    angles.sink = active(all ? angles_sink : active_angles_sink);
  }
  return angles;
}

void Transformer::State::run_stage(std::span<const Slice> slices, const LayerStage& stage,
                                   const PromptOptions& prompt) {
  for (SliceRows& rows : slice_rows) {
    rows.n_done = 0;
  }
  // Slices of one token are exact after one pass: they see only what is final, or themselves.
  const bool iterate = stage.cyclic && n_rows > static_cast<std::int64_t>(slices.size());
  if (!iterate) {
    count_active();
    residual = &hidden;
    run_layers(slices, stage);
    return;
  }
  // The iteration starts from zero keys and values (arXiv 2405.10637, section 2.3).
  for (int layer = stage.first; layer < stage.end; ++layer) {
    if (const LayerStep& step = model.plan.layers[layer]; step.owns) {
      backend.fill_zero(rows_of(pending_keys, step.owner_written, 0, n_rows));
      backend.fill_zero(rows_of(pending_values, step.owner_written, 0, n_rows));
    }
  }
  const Passes alike(backend, n_rows);
  std::int64_t pass = 0;
  residual = &x;
  for (pack_active(); n_active > 0; pack_active()) {
    ++pass;
    backend.fill_zero(moved.rows(0, std::ssize(slices)));
    run_layers(slices, stage);
    note_moves(prompt);
    finish_pass(prompt, pass);
  }
  most_passes = std::max(most_passes, pass);
}

void Transformer::State::run_layers(std::span<const Slice> slices, const LayerStage& stage) {
  for (int layer = stage.first; layer < stage.end; ++layer) {
    run_layer(slices, model.plan.layers[layer]);
  }
}

/// How far the keys and values of each slice moved in this pass, if anybody asks; one wait for the device.
void Transformer::State::note_moves(const PromptOptions& prompt) {
  const bool first_pass = n_active == n_rows;
  if (first_pass || prompt.mode == PromptMode::passes) {
    for (SliceRows& rows : slice_rows) {
      rows.moved = std::numeric_limits<float>::infinity();
    }
    return;
  }
  host_moved.resize(slice_rows.size());
  backend.download(std::as_bytes(moved.rows(0, std::ssize(slice_rows))),
                   std::as_writable_bytes(std::span(host_moved)));
  for (std::size_t s = 0; s < slice_rows.size(); ++s) {
    slice_rows[s].moved = host_moved[s];
  }
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

  backend.rms_norm(active(*residual), vector_of(weights.attention_norm, config.hidden_size), eps,
                   active(normed));
  project(step, weights);
  if (step.owns && n_active < n_rows) {
    join_pending(step);
  }
  attention(slices, step, weights);
  backend.rms_norm(active(*residual), vector_of(weights.mlp_norm, config.hidden_size), eps, active(normed));
  mlp(weights);
}

/// Queries, and the layer's own keys and values: in the first pass these are the pending rows.
void Transformer::State::project(const LayerStep& step, const LayerWeights& weights) {
  const bool first_pass = n_active == n_rows;
  const auto fresh = [&](const RowBuffer& pending_rows, const RowBuffer& others) {
    return first_pass ? rows_of(pending_rows, step.owner_written, 0, n_active) : active(others);
  };
  std::array<kernels::Projection, 3> projections = {
      {{.weight = weights.q_proj.get(), .out = active(query_stream), .rotated = true}}};
  if (frames_differ) {
    projections[0].out_sink = active(query_sink);
  }
  if (step.owns) {
    projections[1] = {.weight = weights.k_proj.get(), .out = fresh(pending_keys, key), .rotated = true};
    projections[2] = {.weight = weights.v_proj.get(), .out = fresh(pending_values, value)};
  }
  backend.project(std::span(projections).first(step.owns ? 3 : 1), active(normed), angles());
}

/// The layer's own keys and values join the pending rows; how far they moved there is noted for each slice.
void Transformer::State::join_pending(const LayerStep& step) {
  for (std::size_t s = 0; s < slice_rows.size(); ++s) {
    const SliceRows& rows = slice_rows[s];
    const auto replace = [&](const RowBuffer& fresh, const RowBuffer& pending_rows) {
      const std::span<float> from = fresh.rows(rows.active_first, rows.n_active());
      const std::span<float> to =
          rows_of(pending_rows, step.owner_written, rows.first + rows.n_done, rows.n_active());
      backend.raise_to_difference(from, to, moved.rows(static_cast<std::int64_t>(s), 1));
      backend.copy(from, to);
    };
    if (rows.n_active() > 0) {
      replace(key, pending_keys);
      replace(value, pending_values);
    }
  }
}

void Transformer::State::attention(std::span<const Slice> slices, const LayerStep& step,
                                   const LayerWeights& weights) {
  collect_runs(slices, step);
  backend.attend({.n_heads = config.n_heads, .n_kv_heads = config.n_kv_heads, .head_dim = config.head_dim},
                 active(query_stream), active(frames_differ ? query_sink : query_stream), runs, run_begin,
                 active(attended));
  backend.matmul_add(*weights.o_proj, active(attended), active(*residual));
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
    const PendingRows own{.keys = rows_of(pending_keys, step.owner, rows.first, rows.n).data(),
                          .values = rows_of(pending_values, step.owner, rows.first, rows.n).data()};
    for (std::int64_t i = rows.n_done; i < rows.n; ++i) {
      slices[s].cache->visible_runs(step.owner, i, step.visibility, own, runs);
      run_begin.push_back(static_cast<std::int32_t>(runs.size()));
    }
  }
}

void Transformer::State::mlp(const LayerWeights& weights) {
  backend.swiglu(*weights.gate_proj, *weights.up_proj, active(normed), active(gated));
  backend.matmul_add(*weights.down_proj, active(gated), active(*residual));
}

/// Packs the final rows of the slices that ask for logits, then of those that ask for a token, at the front
/// of x, and notes how tokens are chosen: of rows that ask for logits too, in a way that leaves them alone.
/// What stands together is one copy, also across the two: the layout of a step does not hang on who asks for
/// which.
void Transformer::State::pack_final(std::span<const Slice> slices) {
  std::int64_t packed = 0;
  std::int64_t first = 0;  // of rows that stand together
  std::int64_t n = 0;
  const auto copy_rows = [&] {
    if (n > 0) {
      backend.copy(hidden.rows(first, n), x.rows(packed, n));
      packed += std::exchange(n, 0);
    }
  };
  choices.clear();
  const auto pack = [&](bool chosen) {
    std::int64_t n_wanted = 0;
    for (std::size_t s = 0; s < slices.size(); ++s) {
      const SliceRows& rows = slice_rows[s];
      const LogitsFor asked = slices[s].logits_for;
      if (asked == LogitsFor::none || (asked == LogitsFor::token) != chosen) {
        continue;
      }
      const std::int64_t wanted = asked == LogitsFor::all ? rows.n : 1;
      const std::int64_t from = rows.first + rows.n - wanted;
      if (from != first + n) {
        copy_rows();
        first = from;
      }
      n += wanted;
      n_wanted += wanted;
      choices.resize(static_cast<std::size_t>(packed + n));
      if (chosen) {
        choices.back() = slices[s].choice;
      }
    }
    return n_wanted;
  };
  n_logits = pack(/*chosen=*/false);
  n_chosen = pack(/*chosen=*/true);
  copy_rows();
}

/// Leaves the logits of the rows asked for on the device.
void Transformer::State::compute_logits(std::span<const Slice> slices) {
  pack_final(slices);
  const std::int64_t n = n_logits + n_chosen;
  if (n == 0) {
    return;
  }
  backend.rms_norm(x.rows(0, n), vector_of(model.weights.final_norm, config.hidden_size),
                   static_cast<float>(config.rms_norm_eps), normed.rows(0, n));
  backend.matmul(model.weights.output_matrix(), normed.rows(0, n), device_logits.rows(0, n));
  if (n_chosen > 0) {  // of all of them: a step that is captured does not hang on how many want logits
    backend.choose_tokens(device_logits.rows(0, n), choices, device_tokens.rows(0, n));
  }
}

void Transformer::State::download_results() {
  logits.resize(static_cast<std::size_t>(n_logits * config.vocab_size));
  backend.download(std::as_bytes(device_logits.rows(0, n_logits)), std::as_writable_bytes(std::span(logits)));
  chosen_tokens.resize(static_cast<std::size_t>(n_chosen));
  backend.download(std::as_bytes(device_tokens.rows(n_logits, n_chosen)),
                   std::as_writable_bytes(std::span(chosen_tokens)));
}

void Transformer::State::append(std::span<const Slice> slices) {
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const SliceRows& rows = slice_rows[s];
    for (int owner = 0; owner < shape.n_owners; ++owner) {
      pending[static_cast<std::size_t>(owner)] = {
          .keys = rows_of(pending_keys, owner, rows.first, rows.n).data(),
          .values = rows_of(pending_values, owner, rows.first, rows.n).data()};
    }
    slices[s].cache->append(rows.n, pending);
  }
}

/// As append() for slices of one token, with one call for all streams and owners.
void Transformer::State::append_one_each(std::span<const Slice> slices) {
  slots.clear();
  for (int owner = 0; owner < shape.n_owners; ++owner) {
    for (std::int64_t s = 0; s < std::ssize(slices); ++s) {
      slots.push_back(slices[static_cast<std::size_t>(s)].cache->next_slot(owner));
      slots.back().row = static_cast<std::int32_t>(owner * max_rows + s);
    }
  }
  const std::int64_t all = shape.n_owners * max_rows;
  appending = true;
  backend.store_kv(pending_keys.rows(0, all), pending_values.rows(0, all), shape.n_kv_heads, shape.head_dim,
                   shape.dtype, slots);
}

void Transformer::State::compute(std::span<const Slice> slices, const PromptOptions& prompt) {
  place(slices);
  for (const LayerStage& stage : model.plan.stages) {
    run_stage(slices, stage, prompt);
  }
  compute_logits(slices);
}

/// One token of each slice. Those that want logits come first, those that want none last, so that rows that
/// are wanted stand together.
void Transformer::State::decode(std::span<const Slice> slices) {
  const auto rank = [](LogitsFor asked) {
    return asked == LogitsFor::none ? 2 : asked == LogitsFor::token ? 1 : 0;
  };
  ordered.clear();
  for (int wanted = 0; wanted < 3; ++wanted) {
    std::ranges::copy_if(slices, std::back_inserter(ordered),
                         [&](const Slice& slice) { return rank(slice.logits_for) == wanted; });
  }
  DecodeStep step(backend, std::ssize(ordered));
  compute(ordered, {});
  try {
    append_one_each(ordered);
    step.end();
  } catch (...) {
    appending = appending && !backend.step_untouched();  // tokens may have been about to join only
    throw;
  }
  // Only now: after a step that failed no stream has moved on.
  for (const Slice& slice : ordered) {
    slice.cache->advance();
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
std::span<const std::int32_t> Transformer::chosen_tokens() const {
  return state_->chosen_tokens;
}
std::int64_t Transformer::passes() const {
  return state_->most_passes;
}

void Transformer::run(std::span<const Slice> slices, const PromptOptions& prompt) {
  State& state = *state_;
  state.most_passes = 1;
  if (std::ranges::all_of(slices, [](const Slice& slice) { return slice.tokens.size() == 1; })) {
    state.decode(slices);
  } else {
    state.compute(slices, prompt);
    state.appending = true;
    state.append(slices);
  }
  state.download_results();
  state.appending = false;
}

}  // namespace condensed::engine
