#include "train/trainer.h"

#include <fstream>
#include <sstream>

#include <gmock/gmock.h>

#include "engine/checkpoint.h"
#include "engine/input_error.h"
#include "tests/train/scratch.h"
#include "train/decoder.h"
#include "train/sequence_order.h"

namespace condensed::train {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class Training : public Scratch {
 protected:
  std::unique_ptr<Trainer> begin(const RunRecipe& recipe, const std::string& name) const {
    return Trainer::begin(folder_ / name, recipe, torch::kCPU);
  }
  std::unique_ptr<Trainer> resume(const std::string& name) const {
    return Trainer::resume(folder_ / name, torch::kCPU);
  }

  static std::vector<StepRecord> finish(Trainer& trainer, std::int64_t stop_after = -1) {
    std::vector<StepRecord> records;
    trainer.run([&](const StepRecord& record) {
      records.push_back(record);
      return record.step != stop_after;
    });
    return records;
  }

  std::string text(const std::string& file) const {
    std::ifstream in(folder_ / file, std::ios::binary);
    std::stringstream content;
    content << in.rdbuf();
    return content.str();
  }

  Parameters reached(const std::string& run) const {
    return load_run_parameters(folder_ / run, engine::read_model_config(folder_ / run / "config.json"));
  }

  void expect_equal(Parameters a, Parameters b) const {
    const engine::ModelConfig shape = engine::read_model_config(folder_ / "model/config.json");
    const auto first = named_tensors(shape, a);
    const auto second = named_tensors(shape, b);
    for (std::size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(torch::equal(*first[i].tensor, *second[i].tensor)) << first[i].name;
    }
  }
};

TEST_F(Training, LossFalls) {
  RunRecipe wanted = recipe("0_2_2_3");
  wanted.steps = 80;
  wanted.validation = wanted.tokens;
  wanted.validation_sequences = 8;
  wanted.kv_loss = 0.01;
  const auto trainer = begin(wanted, "run");
  const auto records = finish(*trainer);
  ASSERT_EQ(records.size(), 80U);
  EXPECT_GT(records.front().loss, 2.5);  // 2.77 is guessing
  // The entropy of the text is that of one choice of 1/4 against 3/4: 0.56 nats.
  EXPECT_LT(records.back().loss, 1.0);
  EXPECT_GT(records.back().loss, 0.5);
  ASSERT_TRUE(records.back().validation);
  EXPECT_NEAR(records.back().validation->exact, std::exp(records.back().loss), 0.3);
  EXPECT_NEAR(records.back().validation->iterated, records.back().validation->exact, 0.01);
  EXPECT_GT(records[10].kv_change, 0);
}

TEST_F(Training, GoesOnToTheBitWhereItWasStopped) {
  RunRecipe wanted = recipe("0_2_2_3");
  wanted.sequence = "16,12:32";
  wanted.passes_without_gradient = "0,7:1";
  wanted.first_token = true;
  const auto whole = finish(*begin(wanted, "whole"));

  RunRecipe same = wanted;
  {
    const auto first = begin(same, "parts");
    EXPECT_EQ(finish(*first, 8).size(), 8U);
  }
  {
    const auto second = resume("parts");
    EXPECT_EQ(second->steps_done(), 8);
    EXPECT_EQ(finish(*second, 21).size(), 13U);
  }
  const auto last = finish(*resume("parts"));
  ASSERT_EQ(last.size(), 9U);
  for (std::size_t i = 0; i < last.size(); ++i) {
    EXPECT_EQ(last[i].loss, whole[21 + i].loss);
    EXPECT_EQ(last[i].gradient_norm, whole[21 + i].gradient_norm);
  }
  expect_equal(reached("whole"), reached("parts"));
  EXPECT_TRUE(finish(*resume("parts")).empty());
}

TEST_F(Training, StepsAfterTheLastSavedStateAreRunAnew) {
  RunRecipe wanted = recipe("0_2_2_3");
  const auto whole = finish(*begin(wanted, "whole"));
  {
    const auto crashing = begin(wanted, "crashed");
    EXPECT_THROW(crashing->run([](const StepRecord& record) {
      if (record.step == 17) {
        throw std::runtime_error("power cut");
      }
      return true;
    }),
                 std::runtime_error);
  }
  std::ofstream(folder_ / "crashed/log.csv", std::ios::app) << "18,46";  // a row cut short
  const auto resumed = resume("crashed");
  EXPECT_EQ(resumed->steps_done(), 10);
  finish(*resumed);
  expect_equal(reached("whole"), reached("crashed"));
  const std::string log = text("crashed/log.csv");
  EXPECT_EQ(std::ranges::count(log, '\n'), 31);
  EXPECT_THAT(text("crashed/log.html"), HasSubstr("Training loss"));
}

TEST_F(Training, MicroBatchesAddUp) {
  RunRecipe wanted = recipe("0_2_2_3");
  wanted.steps = 3;
  wanted.kv_loss = 0.5;
  const auto halves = finish(*begin(wanted, "halves"));
  wanted.micro_tokens = 256;
  const auto whole = finish(*begin(wanted, "whole"));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_NEAR(halves[i].loss, whole[i].loss, 1e-4);
    EXPECT_NEAR(halves[i].gradient_norm, whole[i].gradient_norm, 1e-3 * whole[i].gradient_norm);
  }
}

/// What one step from the same beginning gives.
class OneStep : public Training {
 protected:
  RunRecipe one_step() const {
    RunRecipe out = recipe("0_2_2_3");
    out.steps = 1;
    out.warmup_steps = 0;
    out.weight_decay = 0;
    return out;
  }
  Parameters begun() const {
    engine::Checkpoint checkpoint(folder_ / "model");
    return load_parameters(checkpoint);
  }
};

TEST_F(OneStep, ReadsWhereItIsToldTo) {
  RunRecipe wanted = one_step();
  wanted.micro_tokens = wanted.batch_tokens;
  wanted.skip_tokens = 96;
  const double loss = finish(*begin(wanted, "run")).front().loss;

  engine::Checkpoint checkpoint(wanted.model);
  Decoder decoder(checkpoint.config(), load_parameters(checkpoint), {});
  const TokenFile file(wanted.tokens, 16);
  SequenceOrder order(file, 32, wanted.seed, -1);
  const torch::Tensor sequences = order.sequences(96, 8, 32);
  const auto out = decoder.forward(sequences.slice(1, 0, 32), {.without_gradient = 2, .with_gradient = 2});
  EXPECT_NEAR(
      loss,
      torch::cross_entropy_loss(out.logits.flatten(0, 1), sequences.slice(1, 1).flatten()).item<double>(),
      1e-5);
}

TEST_F(OneStep, MovesEachParameterByTheLearningRateWithoutMoments) {
  RunRecipe wanted = one_step();
  wanted.beta1 = 0;
  wanted.beta2 = 0;
  finish(*begin(wanted, "run"));
  const torch::Tensor moved = (reached("run").layers[1].down_proj - begun().layers[1].down_proj).abs();
  EXPECT_NEAR(moved.median().item<double>(), wanted.learning_rate, 1e-4 * wanted.learning_rate);
}

TEST_F(OneStep, DecaysMatricesAndNoVectors) {
  RunRecipe wanted = one_step();
  finish(*begin(wanted, "without"));
  wanted.weight_decay = 0.5;
  finish(*begin(wanted, "with"));
  const Parameters without = reached("without");
  const Parameters with = reached("with");
  EXPECT_TRUE(torch::equal(with.layers[2].mlp_norm, without.layers[2].mlp_norm));
  EXPECT_TRUE(torch::equal(with.final_norm, without.final_norm));
  const torch::Tensor decayed = without.embedding - wanted.learning_rate * 0.5 * begun().embedding;
  EXPECT_TRUE(torch::allclose(with.embedding, decayed, 0, 1e-7));
}

TEST_F(OneStep, ClipsTheGradient) {
  RunRecipe wanted = one_step();
  wanted.clip = 1e-12;  // far below what Adam's epsilon lets count
  const auto records = finish(*begin(wanted, "run"));
  EXPECT_GT(records.front().gradient_norm, 0.01);
  EXPECT_LT((reached("run").embedding - begun().embedding).abs().max().item<double>(),
            1e-3 * wanted.learning_rate);
}

TEST_F(OneStep, KvLossHasAGradient) {
  RunRecipe wanted = one_step();
  const double without = finish(*begin(wanted, "without")).front().gradient_norm;
  wanted.kv_loss = 10;
  const auto with = finish(*begin(wanted, "with"));
  EXPECT_GT(std::abs(with.front().gradient_norm - without), 1e-3);
}

TEST_F(OneStep, RecomputingChangesNothingAndBfloat16ALittle) {
  RunRecipe wanted = one_step();
  const auto kept = finish(*begin(wanted, "kept")).front();
  wanted.recompute = true;
  const auto again = finish(*begin(wanted, "again")).front();
  EXPECT_NEAR(again.loss, kept.loss, 1e-5);
  EXPECT_NEAR(again.gradient_norm, kept.gradient_norm, 1e-4 * kept.gradient_norm);
  wanted.precision = "bf16";
  const auto rounded = finish(*begin(wanted, "rounded")).front();
  EXPECT_NE(rounded.loss, kept.loss);
  EXPECT_NEAR(rounded.loss, kept.loss, 0.05);
}

TEST_F(Training, GradientsThatEndLeaveNoMomentum) {
  RunRecipe wanted = recipe("1_0_2_3");  // layer 1's keys and values only get a gradient from a second pass
  wanted.steps = 12;
  wanted.passes_with_gradient = "2,6:1";
  finish(*begin(wanted, "whole"));
  {
    const auto first = begin(wanted, "parts");
    finish(*first, 6);
  }
  const Parameters halfway = reached("parts");
  finish(*resume("parts"));
  expect_equal(reached("whole"), reached("parts"));
  EXPECT_TRUE(torch::equal(reached("parts").layers[1].k_proj, halfway.layers[1].k_proj));
}

TEST_F(Training, AModelThatSaysNoPassWithGradientIsValidatedAllTheSame) {
  boost::json::object object = config("0_2_2_3");
  object["backward_passes"] = 0;
  write_model_folder(folder_ / "no-passes", object,
                     random_parameters(model_config(object, "the test"), 0.1, 5), kernels::DType::f32, {});
  RunRecipe wanted = recipe("0_2_2_3");
  wanted.model = folder_ / "no-passes";
  wanted.validation = wanted.tokens;
  wanted.steps = 1;
  EXPECT_TRUE(finish(*begin(wanted, "run")).front().validation);
}

TEST_F(Training, WhatCannotBeUsedIsSaid) {
  const RunRecipe good = recipe("0_2_2_3");
  const auto refused = [&](auto change, const std::string& message) {
    RunRecipe wanted = good;
    change(wanted);
    EXPECT_THAT([&] { begin(wanted, "refused"); }, ThrowsMessage<engine::InputError>(HasSubstr(message)));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "refused/recipe.json"));
  };
  refused([](RunRecipe& r) { r.micro_tokens = 100; },
          "--batch-tokens: 256 is no multiple of --micro-tokens, 100");
  refused([](RunRecipe& r) { r.batch_tokens = 0; }, "--batch-tokens");
  refused([](RunRecipe& r) { r.beta2 = 1; }, "--beta2");
  refused([](RunRecipe& r) { r.sequence = "48"; }, "--sequence: 48 does not divide");
  refused([&](RunRecipe& r) { r.model = make_model("0_1_2_3", "plain"), r.kv_loss = 1; }, "--kv-loss");
  {
    write_token_file(folder_ / "short", std::vector<std::int32_t>(40, 3), 16);
    refused([&](RunRecipe& r) { r.validation = folder_ / "short"; }, "short: has 40 tokens");
  }
  EXPECT_THAT([&] { begin(good, "model"); }, ThrowsMessage<engine::InputError>(HasSubstr("holds a model")));
  refused([](RunRecipe& r) { r.precision = "fp8"; }, "--precision");
  refused([](RunRecipe& r) { r.passes_with_gradient = "0"; }, "--passes-with-gradient");
  refused([](RunRecipe& r) { r.passes_without_gradient = "1,5:10000"; }, "more than 10000 passes");
  refused([](RunRecipe& r) { r.model = "/nowhere"; }, "/nowhere");
  refused([](RunRecipe& r) { r.tokens = r.model / "model.safetensors"; }, "condensed-train prepare");
  {
    boost::json::object nameless = config("0_2_2_3");
    nameless.erase("bos_token_id");
    write_model_folder(folder_ / "nameless", nameless,
                       random_parameters(model_config(nameless, "the test"), 0.1, 5), kernels::DType::f32,
                       {});
    refused(
        [&](RunRecipe& r) {
          r.model = folder_ / "nameless";
          r.first_token = true;
        },
        "no bos_token_id");
  }
  begin(good, "there");
  EXPECT_THAT([&] { begin(good, "there"); },
              ThrowsMessage<engine::InputError>(HasSubstr("holds a run already")));
  EXPECT_THROW(resume("nothing"), engine::InputError);
  std::ofstream(folder_ / "there/state.pt", std::ios::trunc) << "no archive";
  EXPECT_THAT([&] { resume("there"); }, ThrowsMessage<engine::InputError>(HasSubstr("state.pt")));
}

TEST_F(Training, ADivergingRunEndsAndItsStateStays) {
  RunRecipe wanted = recipe("0_2_2_3");
  wanted.learning_rate = 1e30;
  wanted.clip = 1e30;
  wanted.warmup_steps = 0;
  wanted.save_every = 1;
  const auto trainer = begin(wanted, "run");
  EXPECT_THAT([&] { finish(*trainer); }, ThrowsMessage<engine::InputError>(HasSubstr("no number any more")));
  Parameters kept = reached("run");
  for (const NamedTensor& named :
       named_tensors(engine::read_model_config(folder_ / "model/config.json"), kept)) {
    EXPECT_TRUE(torch::isfinite(*named.tensor).all().item<bool>()) << named.name;
  }
}

TEST_F(Training, ACondensedModelBeginsWithAveragedKeysAndValues) {
  const engine::ModelConfig plain_shape = model_config(config("0_1_2_3"), "the test");
  const engine::ModelConfig shape = model_config(config("0_2_2_3"), "the test");
  const Parameters plain = random_parameters(plain_shape, 0.1, 5);
  const Parameters made = condense(plain_shape, plain, shape);
  EXPECT_TRUE(torch::equal(made.layers[0].k_proj, plain.layers[0].k_proj));
  EXPECT_TRUE(torch::allclose(made.layers[2].v_proj, (plain.layers[1].v_proj + plain.layers[2].v_proj) / 2));
  EXPECT_TRUE(torch::allclose(made.layers[2].k_proj, (plain.layers[1].k_proj + plain.layers[2].k_proj) / 2));
  EXPECT_FALSE(made.layers[1].k_proj.defined());
  EXPECT_TRUE(torch::equal(made.layers[1].down_proj, plain.layers[1].down_proj));
}

TEST(LayerRanges, AreMaximalAndCoverAllLayers) {
  const auto ranges = [](const std::vector<int>& owners) {
    std::vector<engine::LayerType> types;
    for (const int owner : owners) {
      types.push_back({.owner = owner});
    }
    return layer_ranges(types);
  };
  using Ranges = std::vector<LayerRange>;
  EXPECT_EQ(ranges({0, 1, 2}), (Ranges{{0, 3, false}}));
  EXPECT_EQ(ranges({0, 3, 3, 3, 4}), (Ranges{{0, 1, false}, {1, 4, true}, {4, 5, false}}));
  EXPECT_EQ(ranges({1, 1, 3, 3}), (Ranges{{0, 2, true}, {2, 4, true}}));
  EXPECT_EQ(ranges({2, 4, 2, 3, 4}), (Ranges{{0, 5, true}}));
  EXPECT_EQ(ranges({0, 0, 2, 2}), (Ranges{{0, 4, false}}));
}

}  // namespace
}  // namespace condensed::train
