#include "engine/model_fingerprint.h"

#include <array>
#include <cstdint>
#include <sstream>
#include <xxhash.h>

#include "engine/tokenizer.h"

namespace condensed::engine {

namespace {

/// What changes the numbers without showing in the tensors.
std::string describe(const ModelConfig& config) {
  std::ostringstream out;
  out.precision(17);
  const auto& scaling = config.rope_scaling;
  out << config.vocab_size << ' ' << config.hidden_size << ' ' << config.intermediate_size << ' '
      << config.n_layers << ' ' << config.n_heads << ' ' << config.n_kv_heads << ' ' << config.head_dim << ' '
      << config.rms_norm_eps << ' ' << config.rope_theta << ' ' << static_cast<int>(scaling.type) << ' '
      << scaling.factor << ' ' << scaling.low_freq_factor << ' ' << scaling.high_freq_factor << ' '
      << scaling.original_max_position_embeddings << ' ' << config.tie_word_embeddings << ' '
      << config.bos_token_id.value_or(-1) << ' ' << config.force_nodiag << ' ' << config.sliding_window;
  for (const std::int32_t eos : config.eos_token_ids) {
    out << " eos " << eos;
  }
  for (const LayerType& layer : config.layer_types) {
    out << ' ' << layer.owner << (layer.sliding ? "s" : "");
  }
  return out.str();
}

std::uint64_t hash_of(const Tokenizer& tokenizer) {
  std::uint64_t hash = static_cast<std::uint64_t>(tokenizer.leading_space());
  for (std::int32_t token = 0; token < tokenizer.n_pieces(); ++token) {
    const std::string_view bytes = tokenizer.bytes(token);
    hash = XXH3_64bits_withSeed(bytes.data(), bytes.size(), hash + static_cast<int>(tokenizer.kind(token)));
  }
  return hash;
}

}  // namespace

std::string fingerprint_of(const Model& model) {
  std::ostringstream all;
  all << describe(model.config) << " weights " << model.sample_hash << " tokenizer "
      << (model.tokenizer ? hash_of(*model.tokenizer) : 0);
  const std::string text = all.str();
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(text.data(), text.size()));
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : canonical.digest) {
    out += {digits[byte >> 4], digits[byte & 15]};
  }
  return out;
}

}  // namespace condensed::engine
