#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <torch/torch.h>

#include "engine/model_config.h"
#include "train/parameters.h"
#include "train/sharing_pattern.h"

namespace condensed::train {

/// What matrix products are computed in. Everything else, sums included, is float32.
enum class Precision : std::uint8_t { f32, bf16 };

/// How a cyclic range runs over a whole sequence: m passes without gradient, then b with (arXiv 2405.10637,
/// section 2.3). With b = 1 the layers below an owner give its key and value projections no
/// gradient.
struct Passes {
  std::int64_t without_gradient = 7;
  std::int64_t with_gradient = 2;  // at least 1
};

/// Keys and values of one layer, [batch, n_kv_heads, tokens, head_dim], keys rotated by position.
struct KeysValues {
  torch::Tensor keys;
  torch::Tensor values;

  bool defined() const { return keys.defined(); }
};

/// A layer-condensed Llama on libtorch, for training: a second implementation of the model, from the papers
/// and not from engine/, so that each can be tested against the other. Not thread-safe.
class Decoder {
 public:
  struct Options {
    Precision precision = Precision::f32;
    bool recompute_activations =
        false;  // gradient checkpointing: a layer's forward runs again for its backward
  };

  /// parameters: on one device, where everything is then computed.
  Decoder(engine::ModelConfig config, Parameters parameters, const Options& options);

  const engine::ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  /// Whether some layer attends to one above it: otherwise there is one pass, and no KV loss.
  bool cyclic() const;

  struct Output {
    torch::Tensor logits;  // [batch, tokens, vocab] float32
    /// Mean squared difference between the last two passes' keys and values, summed over the cyclic ranges'
    /// owners: the KV loss. Undefined where nothing is cyclic or there was one pass.
    torch::Tensor kv_change;
  };

  /// All tokens at once, cyclic ranges in passes. tokens: [batch, tokens] int64.
  Output forward(const torch::Tensor& tokens, const Passes& passes);

  /// Exact decoding, token after token, without gradient: what the engine serves. [batch, tokens, vocab].
  torch::Tensor decode(const torch::Tensor& tokens);

 private:
  using Cache = std::vector<KeysValues>;  // [n_layers]; undefined: nothing yet, which is as good as all zeros

  /// Which keys each query sees, [queries, keys]: 0 or a number that no softmax survives.
  struct Mask {
    torch::Tensor additive;
    torch::Tensor sees_any;  // [queries, 1] of 1 and 0, undefined when every query sees something
  };
  Mask make_mask(bool sees_itself, bool sliding, std::int64_t n_tokens) const;

  torch::Tensor run_range(const LayerRange& range, torch::Tensor x, Cache& cache,
                          const std::vector<Mask>& masks);
  torch::Tensor run_layer(int layer, const torch::Tensor& x, Cache& cache, const Mask& mask);
  torch::Tensor run_layer_twice(int layer, const torch::Tensor& x, Cache& cache, const Mask& mask);
  torch::Tensor decode_token(const torch::Tensor& tokens, std::int64_t position, Cache& cache);

  KeysValues keys_values(int layer, const torch::Tensor& normed, std::int64_t first_position) const;
  /// [batch, tokens, hidden]; an undefined mask lets every query see every key.
  torch::Tensor attention(int layer, const torch::Tensor& normed, std::int64_t first_position,
                          const KeysValues& seen, const Mask& mask) const;
  torch::Tensor mlp(int layer, const torch::Tensor& x) const;
  torch::Tensor logits(const torch::Tensor& x) const;
  torch::Tensor norm(const torch::Tensor& x, const torch::Tensor& weight) const;
  torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight) const;
  torch::Tensor product(const torch::Tensor& a, const torch::Tensor& b) const;
  torch::Tensor rotate(const torch::Tensor& x, std::int64_t first_position) const;
  void extend_rotation(std::int64_t n_tokens);
  bool sees_itself(int layer) const;

  engine::ModelConfig config_;
  Parameters parameters_;
  Options options_;
  std::vector<LayerRange> ranges_;
  torch::Tensor cosines_;  // [positions, head_dim]
  torch::Tensor sines_;    // [positions, head_dim]
};

}  // namespace condensed::train
