#include "clients/condensectl/flags.h"

#include <CLI/CLI.hpp>

namespace condensed::ctl {

void add_sampling_flags(CLI::App& command, GenerateFlags& flags) {
  command.add_option("--temperature", flags.temperature, "0 is greedy");
  command.add_option("--top-k", flags.top_k, "Keep the k likeliest tokens");
  command.add_option("--top-p", flags.top_p, "Keep the likeliest tokens that together reach p");
  command.add_option("--min-p", flags.min_p,
                     "Keep tokens at least this many times as likely as the likeliest");
  command.add_option("--repetition-penalty", flags.repetition_penalty,
                     "Above 1: seen tokens become less likely");
  command.add_option("--presence-penalty", flags.presence_penalty,
                     "Subtracted from the logit of a seen token");
  command.add_option("--frequency-penalty", flags.frequency_penalty, "Subtracted for each time it was seen");
  command.add_option("--penalty-window", flags.penalty_window, "How many of the latest tokens count as seen");
  command.add_option("--logit-bias", flags.logit_bias, "ID=NUMBER; may be given several times")
      ->allow_extra_args(false);
  command.add_option("--logprobs", flags.logprobs,
                     "In the events: log-probabilities and this many alternatives");
}

}  // namespace condensed::ctl
