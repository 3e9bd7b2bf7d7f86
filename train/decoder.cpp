#include "train/decoder.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>
#include <utility>

#include "train/recomputation.h"

namespace condensed::train {

using torch::Tensor;
using torch::indexing::Slice;

namespace {

/// Finite, so that a row which sees nothing gives numbers to be thrown away, and not NaNs.
constexpr float kHidden = -1e30F;

/// Radians per position, [head_dim / 2]: theta^(-2i / head_dim), stretched as rope_scaling says.
std::vector<double> rotation_frequencies(const engine::ModelConfig& config) {
  using Type = engine::RopeScaling::Type;
  const engine::RopeScaling& scaling = config.rope_scaling;
  std::vector<double> frequencies;
  for (int i = 0; i < config.head_dim; i += 2) {
    double frequency = std::pow(config.rope_theta, -static_cast<double>(i) / config.head_dim);
    if (scaling.type == Type::linear) {
      frequency /= scaling.factor;
    } else if (scaling.type == Type::llama3) {
      // Llama 3.1: slow frequencies are divided, fast ones kept, those between blended.
      const double turns = scaling.original_max_position_embeddings * frequency / (2 * std::numbers::pi);
      const double kept = std::clamp(
          (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor), 0.0, 1.0);
      frequency *= kept + (1 - kept) / scaling.factor;
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace

Decoder::Decoder(engine::ModelConfig config, Parameters parameters, const Options& options)
    : config_(std::move(config)),
      parameters_(std::move(parameters)),
      options_(options),
      ranges_(layer_ranges(config_.layer_types)) {}

bool Decoder::cyclic() const {
  return std::ranges::any_of(ranges_, &LayerRange::cyclic);
}

bool Decoder::sees_itself(int layer) const {
  return config_.layer_types[layer].owner <= layer && !config_.force_nodiag;
}

Decoder::Mask Decoder::make_mask(bool sees_itself, bool sliding, std::int64_t n_tokens) const {
  const auto positions = torch::arange(n_tokens, parameters_.embedding.device());
  const Tensor distance = positions.unsqueeze(1) - positions;  // [queries, keys]
  Tensor seen = sees_itself ? distance >= 0 : distance > 0;
  if (sliding) {
    seen = seen & (distance < config_.sliding_window);
  }
  Mask mask{.additive =
                torch::zeros(seen.sizes(), seen.options().dtype(torch::kFloat32)).masked_fill(~seen, kHidden),
            .sees_any = {}};
  if (const Tensor any = seen.any(1, /*keepdim=*/true); !any.all().item<bool>()) {
    mask.sees_any = any.to(torch::kFloat32);
  }
  return mask;
}

Decoder::Output Decoder::forward(const Tensor& tokens, const Passes& passes) {
  assert(passes.with_gradient >= 1);
  extend_rotation(tokens.size(1));
  std::vector<Mask> masks;
  for (int layer = 0; layer < config_.n_layers; ++layer) {
    const bool sliding = config_.layer_types[layer].sliding;
    // The layers of a range nearly always see the same: the mask of the layer below fits if nothing differs.
    const bool as_below = layer > 0 && sees_itself(layer) == sees_itself(layer - 1) &&
                          sliding == config_.layer_types[layer - 1].sliding;
    masks.push_back(as_below ? masks.back() : make_mask(sees_itself(layer), sliding, tokens.size(1)));
  }

  Output output;
  Cache cache(static_cast<std::size_t>(config_.n_layers));
  Tensor x = torch::embedding(parameters_.embedding, tokens);
  for (const LayerRange& range : ranges_) {
    if (!range.cyclic) {
      x = run_range(range, x, cache, masks);
      continue;
    }
    {
      const torch::NoGradGuard no_gradient;
      for (std::int64_t pass = 0; pass < passes.without_gradient; ++pass) {
        run_range(range, x, cache, masks);
      }
    }
    Tensor result;
    Cache before;
    for (std::int64_t pass = 0; pass < passes.with_gradient; ++pass) {
      before = cache;
      result = run_range(range, x, cache, masks);
    }
    for (int layer = range.first; layer < range.end; ++layer) {
      if (before[layer].defined()) {
        const Tensor change = torch::mse_loss(cache[layer].keys, before[layer].keys) +
                              torch::mse_loss(cache[layer].values, before[layer].values);
        output.kv_change = output.kv_change.defined() ? output.kv_change + change : change;
      }
    }
    x = result;
  }
  output.logits = logits(x);
  return output;
}

Tensor Decoder::run_range(const LayerRange& range, Tensor x, Cache& cache, const std::vector<Mask>& masks) {
  for (int layer = range.first; layer < range.end; ++layer) {
    const bool twice = options_.recompute_activations && torch::GradMode::is_enabled() && x.requires_grad();
    x = twice ? run_layer_twice(layer, x, cache, masks[layer]) : run_layer(layer, x, cache, masks[layer]);
  }
  return x;
}

/// run_layer() that keeps no activations for the backward pass but computes them again there.
Tensor Decoder::run_layer_twice(int layer, const Tensor& x, Cache& cache, const Mask& mask) {
  using torch::autograd::variable_list;
  const int owner = config_.layer_types[layer].owner;
  const bool reads_earlier = owner != layer && cache[owner].defined();
  const auto run = [this, layer, owner, reads_earlier, mask](const variable_list& in) {
    Cache own(static_cast<std::size_t>(config_.n_layers));
    if (reads_earlier) {
      own[owner] = {.keys = in[1], .values = in[2]};
    }
    variable_list out{run_layer(layer, in[0], own, mask)};
    if (own[layer].defined()) {
      out.insert(out.end(), {own[layer].keys, own[layer].values});
    }
    return out;
  };
  variable_list in{x};
  if (reads_earlier) {
    in.insert(in.end(), {cache[owner].keys, cache[owner].values});
  }
  const variable_list out = recomputed(run, in);
  if (out.size() == 3) {
    cache[layer] = {.keys = out[1], .values = out[2]};
  }
  return out[0];
}

Tensor Decoder::run_layer(int layer, const Tensor& x, Cache& cache, const Mask& mask) {
  const Tensor normed = norm(x, parameters_.layers[layer].attention_norm);
  if (parameters_.layers[layer].k_proj.defined()) {
    cache[layer] = keys_values(layer, normed, 0);
  }
  const KeysValues& seen = cache[config_.layer_types[layer].owner];
  // Before the first pass there are no keys and values above: all zeros, so that attention gives zero.
  const Tensor attended = seen.defined() ? x + attention(layer, normed, 0, seen, mask) : x;
  return attended + mlp(layer, attended);
}

Tensor Decoder::decode(const Tensor& tokens) {
  const torch::NoGradGuard no_gradient;
  const std::int64_t batch = tokens.size(0);
  const std::int64_t n_tokens = tokens.size(1);
  extend_rotation(n_tokens);
  Cache cache(static_cast<std::size_t>(config_.n_layers));
  for (int layer = 0; layer < config_.n_layers; ++layer) {
    if (parameters_.layers[layer].k_proj.defined()) {
      const auto room = [&] {
        return torch::zeros({batch, config_.n_kv_heads, n_tokens, config_.head_dim},
                            parameters_.embedding.options());
      };
      cache[layer] = {.keys = room(), .values = room()};
    }
  }
  std::vector<Tensor> rows;
  for (std::int64_t position = 0; position < n_tokens; ++position) {
    rows.push_back(decode_token(tokens.select(1, position), position, cache));
  }
  return torch::cat(rows, 1);
}

/// tokens: [batch], all at `position`. [batch, 1, vocab].
Tensor Decoder::decode_token(const Tensor& tokens, std::int64_t position, Cache& cache) {
  Tensor x = torch::embedding(parameters_.embedding, tokens).unsqueeze(1);
  for (int layer = 0; layer < config_.n_layers; ++layer) {
    const Tensor normed = norm(x, parameters_.layers[layer].attention_norm);
    if (parameters_.layers[layer].k_proj.defined()) {
      const KeysValues fresh = keys_values(layer, normed, position);
      cache[layer].keys.slice(2, position, position + 1).copy_(fresh.keys);
      cache[layer].values.slice(2, position, position + 1).copy_(fresh.values);
    }
    const auto& type = config_.layer_types[layer];
    const std::int64_t first =
        type.sliding ? std::max<std::int64_t>(0, position - config_.sliding_window + 1) : 0;
    const std::int64_t end = sees_itself(layer) ? position + 1 : position;
    if (first < end) {
      const KeysValues seen{.keys = cache[type.owner].keys.slice(2, first, end),
                            .values = cache[type.owner].values.slice(2, first, end)};
      x = x + attention(layer, normed, position, seen, {});
    }
    x = x + mlp(layer, x);
  }
  return logits(x);
}

KeysValues Decoder::keys_values(int layer, const Tensor& normed, std::int64_t first_position) const {
  const auto heads = [&](const Tensor& weight) {
    return linear(normed, weight)
        .view({normed.size(0), normed.size(1), config_.n_kv_heads, config_.head_dim})
        .transpose(1, 2);
  };
  return {.keys = rotate(heads(parameters_.layers[layer].k_proj), first_position),
          .values = heads(parameters_.layers[layer].v_proj)};
}

Tensor Decoder::attention(int layer, const Tensor& normed, std::int64_t first_position,
                          const KeysValues& seen, const Mask& mask) const {
  const std::int64_t batch = normed.size(0);
  const std::int64_t n_queries = normed.size(1);
  const std::int64_t n_keys = seen.keys.size(2);
  const std::int64_t kv_heads = config_.n_kv_heads;
  const std::int64_t group = config_.n_heads / kv_heads;
  const std::int64_t head_dim = config_.head_dim;

  const Tensor projected =
      linear(normed, parameters_.layers[layer].q_proj).view({batch, n_queries, config_.n_heads, head_dim});
  // The query heads of a group stand below each other: one product with the keys they share.
  const Tensor queries = (rotate(projected.transpose(1, 2), first_position) / std::sqrt(head_dim))
                             .reshape({batch * kv_heads, group * n_queries, head_dim});
  const Tensor keys = seen.keys.reshape({batch * kv_heads, n_keys, head_dim});
  const Tensor values = seen.values.reshape({batch * kv_heads, n_keys, head_dim});

  Tensor scores = product(queries, keys.transpose(1, 2)).view({batch * kv_heads, group, n_queries, n_keys});
  if (mask.additive.defined()) {
    scores = scores + mask.additive;
  }
  const Tensor shares = torch::softmax(scores, -1).view({batch * kv_heads, group * n_queries, n_keys});
  Tensor mixed = product(shares, values).view({batch, config_.n_heads, n_queries, head_dim});
  if (mask.sees_any.defined()) {
    mixed = mixed * mask.sees_any;
  }
  return linear(mixed.transpose(1, 2).reshape({batch, n_queries, config_.n_heads * head_dim}),
                parameters_.layers[layer].o_proj);
}

Tensor Decoder::mlp(int layer, const Tensor& x) const {
  const LayerParameters& weights = parameters_.layers[layer];
  const Tensor normed = norm(x, weights.mlp_norm);
  return linear(torch::silu(linear(normed, weights.gate_proj)) * linear(normed, weights.up_proj),
                weights.down_proj);
}

Tensor Decoder::logits(const Tensor& x) const {
  return linear(norm(x, parameters_.final_norm), parameters_.output_matrix());
}

/// arXiv 1910.07467
Tensor Decoder::norm(const Tensor& x, const Tensor& weight) const {
  return x * torch::rsqrt((x * x).mean(-1, /*keepdim=*/true) + config_.rms_norm_eps) * weight;
}

Tensor Decoder::linear(const Tensor& x, const Tensor& weight) const {
  if (options_.precision == Precision::bf16) {
    return torch::linear(x.to(torch::kBFloat16), weight.to(torch::kBFloat16)).to(torch::kFloat32);
  }
  return torch::linear(x, weight);
}

/// Of matrices, batch by batch.
Tensor Decoder::product(const Tensor& a, const Tensor& b) const {
  if (options_.precision == Precision::bf16) {
    return torch::bmm(a.to(torch::kBFloat16), b.to(torch::kBFloat16)).to(torch::kFloat32);
  }
  return torch::bmm(a, b);
}

/// Rotate-half layout. x: [batch, heads, tokens, head_dim].
Tensor Decoder::rotate(const Tensor& x, std::int64_t first_position) const {
  const Slice rows(first_position, first_position + x.size(2));
  const auto halves = x.chunk(2, -1);
  return x * cosines_.index({rows}) + torch::cat({-halves[1], halves[0]}, -1) * sines_.index({rows});
}

void Decoder::extend_rotation(std::int64_t n_tokens) {
  if (cosines_.defined() && cosines_.size(0) >= n_tokens) {
    return;
  }
  const Tensor frequencies = torch::tensor(rotation_frequencies(config_), torch::kFloat64);
  const Tensor angles =
      torch::arange(n_tokens, torch::kFloat64).unsqueeze(1) * torch::cat({frequencies, frequencies});
  const auto options = parameters_.embedding.options().requires_grad(false);
  cosines_ = angles.cos().to(options);
  sines_ = angles.sin().to(options);
}

}  // namespace condensed::train
