#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "tests/engine/scratch_folder.h"
#include "train/model_folder.h"
#include "train/run_recipe.h"
#include "train/token_file.h"

namespace condensed::train {

/// A folder with a tiny random model and a text that repeats itself with variations.
class Scratch : public testing::Test {
 protected:
  boost::json::object config(const std::string& layer_types) const {
    return {{"model_type", "lckv-llama"}, {"vocab_size", 16},          {"hidden_size", 32},
            {"intermediate_size", 64},    {"num_hidden_layers", 4},    {"num_attention_heads", 4},
            {"num_key_value_heads", 2},   {"rms_norm_eps", 1e-5},      {"tie_word_embeddings", true},
            {"bos_token_id", 1},          {"layer_types", layer_types}};
  }

  std::filesystem::path make_model(const std::string& layer_types, const std::string& name = "model") const {
    const engine::ModelConfig shape = model_config(config(layer_types), "the test");
    write_model_folder(folder_ / name, config(layer_types), random_parameters(shape, 0.1, 5),
                       kernels::DType::f32, {});
    return folder_ / name;
  }

  /// Counting from 2 to 15 and back to 2, skipping a number now and then: easy, but not trivial.
  std::filesystem::path make_tokens(std::int64_t n) const {
    std::vector<std::int32_t> tokens;
    std::uint32_t random = 1;
    for (std::int32_t token = 2; static_cast<std::int64_t>(tokens.size()) < n;) {
      tokens.push_back(token);
      random = random * 1664525 + 1013904223;
      token = 2 + (token - 2 + (random >> 30 == 0 ? 2 : 1)) % 14;
    }
    write_token_file(folder_ / "tokens", tokens, 16);
    return folder_ / "tokens";
  }

  RunRecipe recipe(const std::string& layer_types) const {
    RunRecipe out;
    out.model = make_model(layer_types);
    out.tokens = make_tokens(5000);
    out.steps = 30;
    out.batch_tokens = 256;
    out.micro_tokens = 128;
    out.sequence = "32";
    out.passes_without_gradient = "2";
    out.learning_rate = 1e-2;
    out.warmup_steps = 5;
    out.validate_every = 0;
    out.save_every = 10;
    return out;
  }

  engine::ScratchFolder scratch_;
  std::filesystem::path folder_ = scratch_.path();
};

}  // namespace condensed::train
