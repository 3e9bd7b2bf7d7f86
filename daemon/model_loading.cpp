#include "daemon/model_loading.h"

#include <algorithm>
#include <new>
#include <utility>

#include <spdlog/spdlog.h>

#include "engine/checkpoint.h"
#include "engine/model_trial.h"
#include "kernels/device_error.h"
#include "kernels/make_backend.h"

namespace condensed::daemon {

namespace {

/// How the files hold the matrices.
engine::WeightFormat stored_format(engine::Checkpoint& checkpoint) {
  const engine::ModelConfig& config = checkpoint.config();
  const std::int64_t q_dim = std::int64_t{config.n_heads} * config.head_dim;
  return {
      .layers = checkpoint.matrix("model.layers.0.self_attn.q_proj.weight", q_dim, config.hidden_size).dtype,
      .embedding =
          checkpoint.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size).dtype};
}

void report_model(const engine::Model& model, const Settings& settings, const engine::MemoryPlan& plan) {
  const auto& config = model.config;
  const cache::CacheShape shape = engine::cache_shape(config, settings.engine_options().cache_dtype);
  spdlog::info("model {}: {} layers, {} of them own a cache; {:.1f} MB of weights; {} kernels", model.name,
               config.n_layers, model.plan.n_owners(), static_cast<double>(model.weights.bytes()) / 1e6,
               model.backend->name());
  spdlog::info("a cached token takes {} bytes, a session of {} sinks and window {} at most {:.2f} MB",
               shape.bytes_per_token(), settings.sinks, settings.window,
               static_cast<double>(plan.session) / 1e6);
  if (settings.sinks + settings.window > config.max_position_embeddings) {
    spdlog::warn(
        "sinks and window ({}) exceed the {} positions the model was made for (max_position_embeddings)",
        settings.sinks + settings.window, config.max_position_embeddings);
  }
}

}  // namespace

std::size_t Placement::cache_bytes() const {
  if (!device || device->free_bytes < plan.fixed()) {
    return 0;
  }
  const std::size_t left = device->free_bytes - plan.fixed();
  return std::max(left / 10 * 9, std::min(left, plan.session));
}

Placement place_model(const std::string& device, kernels::CudaSurvey survey, const engine::MemoryPlan& plan) {
  const kernels::DeviceSetting setting = kernels::parse_device(device).value();
  std::string lacks;
  do {
    kernels::DeviceChoice choice = kernels::choose_device(setting, survey);
    Placement placement{.device = std::move(choice.device), .reason = std::move(choice.reason), .plan = plan};
    if (!placement.device) {
      return placement;
    }
    placement.plan.kept = kernels::cuda_kept_bytes(placement.device->memory_bytes);
    const std::size_t free_bytes = placement.device->free_bytes;
    const std::string arithmetic = placement.reason + ": " + placement.plan.explain(free_bytes);
    if (placement.plan.sessions_in(free_bytes) > 0) {
      placement.reason = arithmetic;
      return placement;
    }
    lacks += (lacks.empty() ? "too little memory " : "; ") + arithmetic;
    std::erase_if(survey.devices, [&](const auto& tried) { return tried.index == placement.device->index; });
  } while (!setting.index && !survey.devices.empty());
  if (!setting.may_fall_back) {
    throw kernels::DeviceError(lacks +
                               "; use fewer bits (weights, cache), a smaller window or max_batch_tokens, or "
                               "device = \"cpu\"");
  }
  return {.device = std::nullopt, .reason = "on the processor: " + lacks, .plan = plan};
}

engine::EngineOptions engine_options(const Settings& settings, const Placement& placement) {
  engine::EngineOptions options = settings.engine_options();
  if (settings.max_cache_bytes == 0 && placement.device) {
    options.max_cache_bytes = placement.cache_bytes();
  }
  return options;
}

engine::MemoryPlan plan_memory(const Settings& settings) {
  engine::Checkpoint checkpoint(settings.model);
  const auto format = settings.weight_format();
  return engine::plan_memory(checkpoint.config(), format ? *format : stored_format(checkpoint),
                             settings.engine_options().cache_dtype, {settings.sinks, settings.window},
                             settings.max_batch_tokens);
}

std::unique_ptr<kernels::Backend> make_backend(const Settings& settings, const Placement& placement) {
  const auto n_threads = static_cast<int>(settings.threads);
  if (!placement.device) {
    return kernels::make_backend(settings.kernels, n_threads);
  }
  return kernels::make_backend("cuda:" + std::to_string(placement.device->index), n_threads);
}

bool fall_back(const Settings& settings, Placement& placement, const std::string& why) {
  if (!placement.device || !kernels::parse_device(settings.device)->may_fall_back) {
    return false;
  }
  placement.device.reset();
  placement.reason = "on the processor: " + why;
  return true;
}

namespace {

std::shared_ptr<engine::Model> load_and_try(const Settings& settings, const Placement& placement,
                                            const MakeBackend& make) {
  auto model = engine::load_model(settings.model, make(placement), settings.weight_format());
  if (placement.device) {
    engine::try_out(*model, engine_options(settings, placement));
  }
  return model;
}

}  // namespace

std::shared_ptr<engine::Model> load_model_at(const Settings& settings, Placement& placement,
                                             const MakeBackend& make) {
  try {
    return load_and_try(settings, placement, make);
  } catch (const kernels::DeviceError& error) {
    if (!fall_back(settings, placement, error.what())) {
      throw;
    }
  } catch (const std::bad_alloc& error) {
    if (!fall_back(settings, placement, std::string("no room for the model: ") + error.what())) {
      throw;
    }
  }
  return load_and_try(settings, placement, make);
}

std::shared_ptr<engine::Model> load_model(const Settings& settings, Placement& placement) {
  const engine::MemoryPlan plan = plan_memory(settings);
  const bool asks_driver = kernels::parse_device(settings.device)->cuda;
  placement =
      place_model(settings.device, asks_driver ? kernels::survey_cuda() : kernels::CudaSurvey{}, plan);
  if (placement.device) {
    kernels::make_backend(settings.kernels, 1);  // what may be fallen back to later must be there now
  }
  auto model = load_model_at(settings, placement,
                             [&](const Placement& place) { return make_backend(settings, place); });
  spdlog::info("computing {}", placement.reason);
  report_model(*model, settings, plan);
  return model;
}

}  // namespace condensed::daemon
