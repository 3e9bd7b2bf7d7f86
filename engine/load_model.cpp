#include <xxhash.h>

#include "engine/checkpoint.h"
#include "engine/model.h"
#include "engine/tokenizer.h"

namespace condensed::engine {

std::shared_ptr<Model> load_model(const std::filesystem::path& folder,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format) {
  std::uint64_t hash = 0;
  const auto add_to_hash = [&](std::span<const std::byte> bytes) {
    hash = XXH3_64bits_withSeed(bytes.data(), bytes.size(), hash);
  };
  auto model = make_model(std::filesystem::weakly_canonical(folder).filename(),
                          std::make_unique<Checkpoint>(folder), std::move(backend), format, add_to_hash);
  model->sample_hash = hash;
  if (const auto file = folder / "tokenizer.model"; std::filesystem::exists(file)) {
    model->tokenizer = std::make_shared<const Tokenizer>(file, model->config.vocab_size);
  }
  return model;
}

}  // namespace condensed::engine
