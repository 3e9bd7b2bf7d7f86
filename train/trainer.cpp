#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "engine/checkpoint.h"
#include "engine/input_error.h"
#include "train/model_folder.h"
#include "train/whole_file.h"

namespace condensed::train {

namespace fs = std::filesystem;
using engine::InputError;
using torch::Tensor;

namespace {

constexpr const char* kState = "state.pt";
constexpr std::uint64_t kValidationSeed = 0;  // every run is judged on the same sequences

std::int64_t first_token_of(const RunRecipe& recipe, const engine::ModelConfig& config) {
  if (!recipe.first_token) {
    return -1;
  }
  if (!config.bos_token_id) {
    throw InputError("--sink-token: the model's config.json has no bos_token_id to begin sequences with");
  }
  return *config.bos_token_id;
}

InputError diverged(std::int64_t step) {
  return InputError(
      "step " + std::to_string(step) +
      ": the loss, its gradient or a parameter is no number any more; the state saved last is kept. A "
      "smaller --learning-rate or more --warmup-steps may help");
}

Decoder::Options decoder_options(const RunRecipe& recipe) {
  return {.precision = recipe.precision == "bf16" ? Precision::bf16 : Precision::f32,
          .recompute_activations = recipe.recompute};
}

Parameters on_device(const engine::ModelConfig& config, Parameters parameters, const torch::Device& device) {
  for (const NamedTensor& named : named_tensors(config, parameters)) {
    *named.tensor = named.tensor->to(device).detach().requires_grad_();
  }
  return parameters;
}

/// Weight decay is for matrices (Llama, arXiv 2302.13971, section 2.3, and everybody since).
std::unique_ptr<torch::optim::AdamW> make_optimiser(const RunRecipe& recipe,
                                                    const engine::ModelConfig& config,
                                                    Parameters& parameters) {
  std::vector<Tensor> matrices;
  std::vector<Tensor> vectors;
  for (const NamedTensor& named : named_tensors(config, parameters)) {
    (named.shape.size() > 1 ? matrices : vectors).push_back(*named.tensor);
  }
  const auto options = [&](double weight_decay) {
    return std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(recipe.learning_rate)
                                                            .betas({recipe.beta1, recipe.beta2})
                                                            .weight_decay(weight_decay));
  };
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::move(matrices), options(recipe.weight_decay));
  groups.emplace_back(std::move(vectors), options(0));
  return std::make_unique<torch::optim::AdamW>(std::move(groups));
}

torch::serialize::InputArchive open_state(const fs::path& folder) {
  torch::serialize::InputArchive archive;
  try {
    archive.load_from((folder / kState).string(), torch::kCPU);  // wherever it was written
  } catch (const c10::Error& error) {
    throw InputError((folder / kState).string() +
                     ": cannot be read as a run's state: " + error.what_without_backtrace());
  }
  return archive;
}

Parameters parameters_in(torch::serialize::InputArchive& archive, const engine::ModelConfig& config,
                         const fs::path& folder) {
  Parameters parameters;
  for (const NamedTensor& named : named_tensors(config, parameters)) {
    if (!archive.try_read(named.name, *named.tensor) ||
        named.tensor->sizes() != torch::IntArrayRef(named.shape)) {
      throw InputError((folder / kState).string() + ": tensor " + named.name +
                       ": is missing or not of the shape that config.json says");
    }
  }
  return parameters;
}

}  // namespace

Parameters load_run_parameters(const fs::path& folder, const engine::ModelConfig& config) {
  auto archive = open_state(folder);
  return parameters_in(archive, config, folder);
}

RunRecipe read_recipe(const fs::path& folder) {
  RunRecipe recipe = recipe_of(read_json_object(folder / "recipe.json"), (folder / "recipe.json").string());
  check(recipe);
  return recipe;
}

std::unique_ptr<Trainer> Trainer::begin(const fs::path& folder, RunRecipe recipe,
                                        const torch::Device& device) {
  check(recipe);
  if (fs::exists(folder / "recipe.json")) {
    throw InputError(folder.string() +
                     ": holds a run already; go on with --resume, or choose another folder");
  }
  if (fs::exists(folder / "model.safetensors")) {
    throw InputError(folder.string() +
                     ": holds a model, which a run's files would spoil; choose another folder");
  }
  // A run can be resumed from anywhere.
  recipe.model = fs::absolute(recipe.model);
  recipe.tokens = fs::absolute(recipe.tokens);
  recipe.validation = recipe.validation.empty() ? fs::path() : fs::absolute(recipe.validation);
  engine::Checkpoint checkpoint(recipe.model);
  std::unique_ptr<Trainer> trainer(
      new Trainer(folder, recipe, checkpoint.config(), load_parameters(checkpoint), device, 0));
  // Everything fits: only now something is written.
  fs::create_directories(folder);
  for (const char* const name : {"config.json", "tokenizer.model"}) {
    if (fs::exists(recipe.model / name)) {
      fs::copy_file(recipe.model / name, folder / name, fs::copy_options::overwrite_existing);
    }
  }
  trainer->log_ = std::make_unique<TrainingLog>(folder, 0);
  trainer->save();
  // Last: a folder with a recipe can be resumed.
  trainer->recipe_.n_tokens = trainer->tokens_.size();
  replace_file(folder / "recipe.json", boost::json::serialize(to_json(trainer->recipe_)) + "\n");
  return trainer;
}

std::unique_ptr<Trainer> Trainer::resume(const fs::path& folder, const torch::Device& device) {
  const RunRecipe recipe = read_recipe(folder);
  const engine::ModelConfig config = engine::read_model_config(folder / "config.json");
  auto archive = open_state(folder);
  c10::IValue steps_done;
  if (!archive.try_read("steps_done", steps_done) || !steps_done.isInt()) {
    throw InputError((folder / kState).string() + ": does not say how many steps were done");
  }
  std::unique_ptr<Trainer> trainer(new Trainer(folder, recipe, config, parameters_in(archive, config, folder),
                                               device, steps_done.toInt()));
  if (trainer->tokens_.size() != recipe.n_tokens) {
    throw InputError(recipe.tokens.string() + ": has " + std::to_string(trainer->tokens_.size()) +
                     " tokens, and had " + std::to_string(recipe.n_tokens) +
                     " when the run began; it goes on with the same file only");
  }
  trainer->load_optimiser(archive);
  trainer->log_ = std::make_unique<TrainingLog>(folder, trainer->steps_done_);
  return trainer;
}

void Trainer::load_optimiser(torch::serialize::InputArchive& archive) {
  torch::serialize::InputArchive optimiser;
  try {
    archive.read("optimiser", optimiser);
    optimiser_->load(optimiser);
  } catch (const c10::Error& error) {
    throw InputError((folder_ / kState).string() +
                     ": holds no state of this run's optimiser: " + error.what_without_backtrace());
  }
  for (auto& [key, state] : optimiser_->state()) {
    auto& moments = static_cast<torch::optim::AdamWParamState&>(*state);
    moments.exp_avg(moments.exp_avg().to(device_));
    moments.exp_avg_sq(moments.exp_avg_sq().to(device_));
  }
}

Trainer::Trainer(fs::path folder, RunRecipe recipe, const engine::ModelConfig& config, Parameters parameters,
                 const torch::Device& device, std::int64_t steps_done)
    : folder_(std::move(folder)),
      recipe_(std::move(recipe)),
      device_(device),
      sequence_("--sequence", recipe_.sequence, 2),
      passes_without_gradient_("--passes-without-gradient", recipe_.passes_without_gradient, 0),
      passes_with_gradient_("--passes-with-gradient", recipe_.passes_with_gradient, 1),
      learning_rate_{.peak = recipe_.learning_rate,
                     .final_share = recipe_.final_learning_rate,
                     .warmup_steps = recipe_.warmup_steps,
                     .steps = recipe_.steps},
      tokens_(recipe_.tokens, config.vocab_size),
      order_(tokens_, sequence_.largest(), recipe_.seed, first_token_of(recipe_, config)),
      decoder_(config, on_device(config, std::move(parameters), device), decoder_options(recipe_)),
      optimiser_(make_optimiser(recipe_, config, decoder_.parameters())),
      steps_done_(steps_done) {
  if (recipe_.kv_loss > 0 && !decoder_.cyclic()) {
    throw InputError(
        "--kv-loss: no layer of this model attends to one above it, so that keys and values do not change");
  }
  if (!recipe_.validation.empty()) {
    validation_ = std::make_unique<TokenFile>(recipe_.validation, config.vocab_size);
    validation_order_ = std::make_unique<SequenceOrder>(*validation_, sequence_.largest(), kValidationSeed,
                                                        first_token_of(recipe_, config));
  }
}

std::int64_t Trainer::tokens_read() const {
  return recipe_.skip_tokens + steps_done_ * recipe_.batch_tokens;
}

void Trainer::run(const std::function<bool(const StepRecord&)>& after_step) {
  bool go_on = true;
  while (go_on && steps_done_ < recipe_.steps) {
    StepRecord record = step();
    const bool last = steps_done_ == recipe_.steps;
    if (validation_ && (last || (recipe_.validate_every > 0 && steps_done_ % recipe_.validate_every == 0))) {
      record.validation = validate();
    }
    log_->add(record);
    go_on = after_step(record);
    if (last || !go_on || steps_done_ % recipe_.save_every == 0) {
      save();
      log_->write_page(to_json(recipe_));
    }
  }
}

StepRecord Trainer::step() {
  const auto begin = std::chrono::steady_clock::now();
  StepRecord record{.sequence = sequence_.at(steps_done_),
                    .passes_without_gradient = passes_without_gradient_.at(steps_done_),
                    .passes_with_gradient = passes_with_gradient_.at(steps_done_),
                    .learning_rate = learning_rate_.at(steps_done_)};
  const Passes passes{.without_gradient = record.passes_without_gradient,
                      .with_gradient = record.passes_with_gradient};
  for (auto& group : optimiser_->param_groups()) {
    static_cast<torch::optim::AdamWOptions&>(group.options()).lr(record.learning_rate);
  }
  // Undefined, and not zero: what got a gradient in earlier steps only must not go on moving by it.
  for (const NamedTensor& named : named_tensors(decoder_.config(), decoder_.parameters())) {
    named.tensor->mutable_grad().reset();
  }

  const std::int64_t n_micro = recipe_.batch_tokens / recipe_.micro_tokens;
  const std::int64_t n_sequences = recipe_.micro_tokens / record.sequence;
  for (std::int64_t micro = 0; micro < n_micro; ++micro) {
    const Tensor sequences =
        order_.sequences(tokens_read() + micro * recipe_.micro_tokens, n_sequences, record.sequence)
            .to(device_);
    const auto out = decoder_.forward(sequences.slice(1, 0, record.sequence), passes);
    Tensor loss = torch::cross_entropy_loss(out.logits.flatten(0, 1), sequences.slice(1, 1).flatten());
    record.loss += loss.item<double>() / static_cast<double>(n_micro);
    if (out.kv_change.defined()) {
      record.kv_change += out.kv_change.item<double>() / static_cast<double>(n_micro);
      if (recipe_.kv_loss > 0) {
        loss = loss + recipe_.kv_loss * out.kv_change;
      }
    }
    (loss / static_cast<double>(n_micro)).backward();
  }
  std::vector<Tensor> all;
  for (const NamedTensor& named : named_tensors(decoder_.config(), decoder_.parameters())) {
    all.push_back(*named.tensor);
  }
  record.gradient_norm = torch::nn::utils::clip_grad_norm_(all, recipe_.clip);
  if (!std::isfinite(record.loss) || !std::isfinite(record.gradient_norm)) {
    throw diverged(steps_done_ + 1);
  }
  optimiser_->step();

  ++steps_done_;
  record.step = steps_done_;
  record.tokens = steps_done_ * recipe_.batch_tokens;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  record.tokens_per_s = static_cast<double>(recipe_.batch_tokens) / took.count();
  return record;
}

Validation Trainer::validate() {
  const torch::NoGradGuard no_gradient;
  const Passes passes{.without_gradient = decoder_.config().forward_passes,
                      .with_gradient = std::max(1, decoder_.config().backward_passes)};
  return {.iterated = std::exp(
              validation_loss([&](const Tensor& in) { return decoder_.forward(in, passes).logits; })),
          .exact = std::exp(validation_loss([&](const Tensor& in) { return decoder_.decode(in); }))};
}

/// Nats a token over the first sequences of the validation text's order.
double Trainer::validation_loss(const std::function<Tensor(const Tensor&)>& logits_of) {
  const std::int64_t length = sequence_.largest();
  const std::int64_t at_once = std::max<std::int64_t>(1, recipe_.micro_tokens / length);
  double sum = 0;
  for (std::int64_t done = 0; done < recipe_.validation_sequences; done += at_once) {
    const std::int64_t n = std::min(at_once, recipe_.validation_sequences - done);
    const Tensor sequences = validation_order_->sequences(done * length, n, length).to(device_);
    const Tensor logits = logits_of(sequences.slice(1, 0, length));
    sum += torch::cross_entropy_loss(logits.flatten(0, 1), sequences.slice(1, 1).flatten()).item<double>() *
           static_cast<double>(n);
  }
  return sum / static_cast<double>(recipe_.validation_sequences);
}

void Trainer::save() const {
  torch::serialize::OutputArchive archive;
  Parameters parameters = decoder_.parameters();
  for (const NamedTensor& named : named_tensors(decoder_.config(), parameters)) {
    if (!torch::isfinite(*named.tensor).all().item<bool>()) {
      throw diverged(steps_done_);
    }
    archive.write(named.name, named.tensor->detach().cpu());
  }
  torch::serialize::OutputArchive optimiser(archive.compilation_unit());
  optimiser_->save(optimiser);
  archive.write("optimiser", optimiser);
  archive.write("steps_done", c10::IValue(steps_done_));
  replace_file(folder_ / kState, [&](std::ostream& file) {
    // Always "all written": libtorch's writer throws in its destructor otherwise. The stream knows, and is
    // asked.
    archive.save_to([&](const void* data, std::size_t n) {
      file.write(static_cast<const char*>(data), static_cast<std::streamsize>(n));
      return n;
    });
  });
}

}  // namespace condensed::train
