#include "train/run_recipe.h"

#include <type_traits>

#include "engine/input_error.h"
#include "train/step_schedule.h"

namespace condensed::train {

namespace json = boost::json;
using engine::InputError;

namespace {

/// Calls visit(key, field) for every field: the one list that writing and reading share.
template <typename Recipe, typename Visit>
void for_each_field(Recipe& recipe, const Visit& visit) {
  visit("model", recipe.model);
  visit("tokens", recipe.tokens);
  visit("validation", recipe.validation);
  visit("n_tokens", recipe.n_tokens);
  visit("steps", recipe.steps);
  visit("batch_tokens", recipe.batch_tokens);
  visit("micro_tokens", recipe.micro_tokens);
  visit("sequence", recipe.sequence);
  visit("passes_without_gradient", recipe.passes_without_gradient);
  visit("passes_with_gradient", recipe.passes_with_gradient);
  visit("learning_rate", recipe.learning_rate);
  visit("final_learning_rate", recipe.final_learning_rate);
  visit("warmup_steps", recipe.warmup_steps);
  visit("weight_decay", recipe.weight_decay);
  visit("beta1", recipe.beta1);
  visit("beta2", recipe.beta2);
  visit("clip", recipe.clip);
  visit("kv_loss", recipe.kv_loss);
  visit("first_token", recipe.first_token);
  visit("skip_tokens", recipe.skip_tokens);
  visit("seed", recipe.seed);
  visit("precision", recipe.precision);
  visit("recompute", recipe.recompute);
  visit("validate_every", recipe.validate_every);
  visit("validation_sequences", recipe.validation_sequences);
  visit("save_every", recipe.save_every);
  visit("device", recipe.device);
  visit("threads", recipe.threads);
}

constexpr std::int64_t kMostPasses = 10'000;  // as in config.json

void require(bool holds, const std::string& what) {
  if (!holds) {
    throw InputError(what);
  }
}

}  // namespace

json::object to_json(const RunRecipe& recipe) {
  json::object object;
  for_each_field(recipe, [&](const char* key, const auto& field) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::filesystem::path>) {
      object[key] = field.string();
    } else {
      object[key] = field;
    }
  });
  return object;
}

RunRecipe recipe_of(const json::object& object, const std::string& place) {
  RunRecipe recipe;
  for_each_field(recipe, [&](const char* key, auto& field) {
    using Field = std::decay_t<decltype(field)>;
    const json::value* const value = object.if_contains(key);
    require(value != nullptr, place + ": lacks \"" + key + "\"; it was not written by this condensed-train");
    boost::system::error_code error;
    if constexpr (std::is_same_v<Field, bool>) {
      require(value->is_bool(), place + ": \"" + key + "\": expected true or false");
      field = value->get_bool();
    } else if constexpr (std::is_arithmetic_v<Field>) {
      field = value->is_number() ? value->to_number<Field>(error) : Field{};
      require(value->is_number() && !error, place + ": \"" + key + "\": expected a number");
    } else {
      require(value->is_string(), place + ": \"" + key + "\": expected a text");
      field = std::string(value->get_string());
    }
  });
  return recipe;
}

void check(const RunRecipe& recipe) {
  const StepSchedule sequence("--sequence", recipe.sequence, 2);
  const StepSchedule without("--passes-without-gradient", recipe.passes_without_gradient, 0);
  const StepSchedule with("--passes-with-gradient", recipe.passes_with_gradient, 1);
  require(without.largest() + with.largest() <= kMostPasses,
          "--passes-without-gradient and --passes-with-gradient: more than " + std::to_string(kMostPasses) +
              " passes");
  require(recipe.steps >= 1, "--steps: expected at least 1");
  require(recipe.micro_tokens >= 1 && recipe.batch_tokens >= recipe.micro_tokens &&
              recipe.batch_tokens % recipe.micro_tokens == 0,
          "--batch-tokens: " + std::to_string(recipe.batch_tokens) + " is no multiple of --micro-tokens, " +
              std::to_string(recipe.micro_tokens));
  for (const std::int64_t length : sequence.values()) {
    require(recipe.micro_tokens % length == 0 && sequence.largest() % length == 0,
            "--sequence: " + std::to_string(length) + " does not divide --micro-tokens, " +
                std::to_string(recipe.micro_tokens) + ", and the longest sequence, " +
                std::to_string(sequence.largest()));
  }
  require(
      recipe.skip_tokens >= 0 && recipe.skip_tokens % sequence.largest() == 0,
      "--skip-tokens: expected a multiple of the longest sequence, " + std::to_string(sequence.largest()));
  require(recipe.learning_rate > 0, "--learning-rate: expected a positive number");
  require(recipe.final_learning_rate >= 0 && recipe.final_learning_rate <= 1,
          "--final-learning-rate: expected a share from 0 to 1");
  require(recipe.warmup_steps >= 0, "--warmup-steps: expected 0 or more");
  require(recipe.weight_decay >= 0, "--weight-decay: expected 0 or more");
  require(recipe.beta1 >= 0 && recipe.beta1 < 1, "--beta1: expected a number from 0 to below 1");
  require(recipe.beta2 >= 0 && recipe.beta2 < 1, "--beta2: expected a number from 0 to below 1");
  require(recipe.kv_loss >= 0, "--kv-loss: expected 0 or more");
  require(recipe.threads >= 0, "--threads: expected 0 or more");
  require(recipe.clip > 0, "--clip: expected a positive number");
  require(recipe.precision == "f32" || recipe.precision == "bf16",
          "--precision: \"" + recipe.precision + "\" is not known; expected f32 or bf16");
  require(recipe.save_every >= 1, "--save-every: expected at least 1 step");
  require(recipe.validate_every >= 0, "--validate-every: expected 0 or more steps");
  require(recipe.validation_sequences >= 1, "--validation-sequences: expected at least 1");
}

}  // namespace condensed::train
