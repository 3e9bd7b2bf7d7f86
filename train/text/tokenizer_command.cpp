#include <sentencepiece_trainer.h>
#include <string>

#include "engine/input_error.h"
#include "train/text/commands.h"
#include "train/whole_file.h"

namespace condensed::train {

namespace fs = std::filesystem;
using engine::InputError;

void run_tokenizer(const TokenizerOptions& options) {
  std::string inputs;
  for (const fs::path& text : options.texts) {
    // sentencepiece takes one list, joined by commas.
    if (!fs::is_regular_file(text) || text.string().find(',') != std::string::npos) {
      throw InputError(text.string() + ": expected a text file without a comma in its name");
    }
    inputs += (inputs.empty() ? "" : ",") + text.string();
  }
  // Spaces and line ends are kept as they are: what a model writes is to look like what it read.
  const fs::path prefix = options.out.string() + ".part";
  const auto status = sentencepiece::SentencePieceTrainer::Train(std::unordered_map<std::string, std::string>{
      {"input", inputs},
      {"model_prefix", prefix.string()},
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"split_digits", "true"},
      {"input_sentence_size", std::to_string(options.sentences)},
      {"shuffle_input_sentence", "true"},
      {"max_sentence_length", std::to_string(options.longest_line_bytes)},
      {"num_threads", "2"},
      {"minloglevel", "2"},
  });
  if (!status.ok()) {
    throw InputError("sentencepiece cannot train on these texts: " + std::string(status.message()));
  }
  fs::remove(prefix.string() + ".vocab");
  move_into_place(prefix.string() + ".model", options.out);
}

}  // namespace condensed::train
