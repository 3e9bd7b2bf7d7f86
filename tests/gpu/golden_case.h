#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/condensed_cache.h"
#include "engine/model.h"
#include "engine/prompt_options.h"
#include "engine/weight_format.h"

namespace condensed::gpu_check {

/// One folder of tests/golden: a small model, a stream for it, and the logits that it must give.
struct GoldenCase {
  std::filesystem::path folder;
  std::vector<std::int32_t> tokens;
  cache::StreamWindow window;
  bool evicts = false;
  bool cyclic = false;                                 // expects logits of iterated passes, too
  std::map<std::string, std::vector<float>> expected;  // [tokens, vocab] each

  std::string name() const { return folder.filename(); }
  std::shared_ptr<engine::Model> model(
      std::unique_ptr<kernels::Backend> backend,
      const std::optional<engine::WeightFormat>& format = std::nullopt) const;
  /// All logits, read in slices as the prompt options say.
  std::vector<float> logits(engine::Model& model, const engine::PromptOptions& prompt,
                            kernels::DType cache_dtype = kernels::DType::f32) const;
};

/// Throws engine::InputError when the folder does not hold one.
GoldenCase read_golden_case(const std::filesystem::path& folder);
/// All of a folder, sorted by name; at least one, or it throws engine::InputError.
std::vector<GoldenCase> read_golden_cases(const std::filesystem::path& folder);

/// NaN if any number is; 0 for empty lists. Throws std::runtime_error for lists of different lengths.
double largest_difference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace condensed::gpu_check
