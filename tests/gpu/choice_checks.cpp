// Tokens chosen from logits against the plain code of kernels/token_choice.h: they must be the same.

#include <random>
#include <vector>

#include "tests/gpu/device_array.h"
#include "tests/gpu/operation_checks.h"
#include "tests/kernels/choice_case.h"

namespace condensed::gpu_check {

using kernels::TokenChoice;
using kernels::test::ChoiceCase;

Finding check_choose_tokens(Trial& trial, int n_cases) {
  constexpr int kVocabularies[] = {1, 2, 31, 4097, 31999, 32000, 128256};
  for (int i = 0; i < n_cases; ++i) {
    std::mt19937 random(static_cast<unsigned>(trial.draw(0, 1 << 30)));
    const int vocab = kVocabularies[i % std::ssize(kVocabularies)];
    std::vector<ChoiceCase> cases;
    std::vector<TokenChoice> choices;
    std::vector<float> logits;
    const int rows = trial.draw(1, 12);
    cases.reserve(static_cast<std::size_t>(rows));
    for (int r = 0; r < rows; ++r) {
      const ChoiceCase& added = cases.emplace_back(random, vocab);
      choices.push_back(added.choice());
      logits.insert(logits.end(), added.logits.begin(), added.logits.end());
    }
    DeviceArray<float> device_logits(trial.backend, logits);
    DeviceArray<std::int32_t> tokens(trial.backend, choices.size());
    trial.backend.choose_tokens(device_logits.span(), choices, tokens.span());
    const auto together = tokens.host();
    static_cast<void>(device_logits.host());  // whose guards are whole
    DeviceArray<float> row(trial.backend, cases.front().logits);
    DeviceArray<std::int32_t> alone(trial.backend, 1);
    trial.backend.choose_tokens(row.span(), {choices.data(), 1}, alone.span());
    trial.compare(alone.host().front(), cases.front().expected(), 0.5);
    for (int r = 0; r < rows; ++r) {
      trial.compare(together[static_cast<std::size_t>(r)], cases[static_cast<std::size_t>(r)].expected(),
                    0.5);
    }
  }
  return trial.finding(n_cases);
}

}  // namespace condensed::gpu_check
