#include "engine/model.h"

#include <utility>

#include "engine/checkpoint.h"

namespace condensed::engine {

std::shared_ptr<Model> make_model(std::string name, std::unique_ptr<WeightSource> source,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format) {
  ModelConfig config = source->config();
  LayerPlan plan = make_layer_plan(config);
  Weights weights = load_weights(*source, plan, *backend, format);
  return std::make_shared<Model>(Model{.name = std::move(name),
                                       .config = std::move(config),
                                       .plan = std::move(plan),
                                       .source = std::move(source),
                                       .backend = std::move(backend),
                                       .weights = std::move(weights),
                                       .tokenizer = nullptr});
}

std::shared_ptr<Model> load_model(const std::filesystem::path& folder,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format) {
  auto model = make_model(std::filesystem::weakly_canonical(folder).filename(),
                          std::make_unique<Checkpoint>(folder), std::move(backend), format);
  if (const auto file = folder / "tokenizer.model"; std::filesystem::exists(file)) {
    model->tokenizer = std::make_unique<Tokenizer>(file, model->config.vocab_size);
  }
  return model;
}

}  // namespace condensed::engine
