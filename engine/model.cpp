#include "engine/model.h"

#include <utility>

namespace condensed::engine {

std::shared_ptr<Model> load_model(const std::filesystem::path& folder,
                                  std::unique_ptr<kernels::Backend> backend) {
  Checkpoint checkpoint(folder);
  LayerPlan plan = make_layer_plan(checkpoint.config());
  Weights weights = load_weights(checkpoint, plan, *backend);
  std::unique_ptr<Tokenizer> tokenizer;
  if (const auto file = folder / "tokenizer.model"; std::filesystem::exists(file)) {
    tokenizer = std::make_unique<Tokenizer>(file, checkpoint.config().vocab_size);
  }
  std::string name = std::filesystem::weakly_canonical(folder).filename();
  return std::make_shared<Model>(Model{.name = std::move(name),
                                       .checkpoint = std::move(checkpoint),
                                       .plan = std::move(plan),
                                       .backend = std::move(backend),
                                       .weights = std::move(weights),
                                       .tokenizer = std::move(tokenizer)});
}

}  // namespace condensed::engine
