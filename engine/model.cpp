#include "engine/model.h"

#include <utility>

namespace condensed::engine {

std::shared_ptr<Model> make_model(std::string name, std::unique_ptr<WeightSource> source,
                                  std::unique_ptr<kernels::Backend> backend,
                                  const std::optional<WeightFormat>& format,
                                  const OnWeightSample& on_sample) {
  ModelConfig config = source->config();
  LayerPlan plan = make_layer_plan(config);
  Weights weights = load_weights(*source, plan, *backend, format, on_sample);
  return std::make_shared<Model>(Model{.name = std::move(name),
                                       .config = std::move(config),
                                       .plan = std::move(plan),
                                       .source = std::move(source),
                                       .backend = std::move(backend),
                                       .weights = std::move(weights),
                                       .tokenizer = nullptr,
                                       .format = format});
}

void reload_model(Model& model, const std::function<std::unique_ptr<kernels::Backend>()>& make) {
  model.weights = {};
  model.backend.reset();
  std::unique_ptr<kernels::Backend> backend = make();
  model.weights = load_weights(*model.source, model.plan, *backend, model.format);
  model.backend = std::move(backend);
}

}  // namespace condensed::engine
