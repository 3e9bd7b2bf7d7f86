#pragma once

#include <cstdint>
#include <string>

namespace condensed::eval {

/// One of the paper's models, and the memory that its weights and sessions may take.
struct PaperShape {
  std::string shape;  // as random_model_config() takes it
  std::int64_t memory_bytes = 0;
};
/// "SHAPE=SIZE", the size as in 8GiB, 512MiB or 1000000. Throws InputError.
PaperShape parse_paper_shape(const std::string& text);

/// Tokens of a prompt and of what is generated after it.
struct Lengths {
  std::int64_t prompt = 0;
  std::int64_t generated = 0;

  std::int64_t total() const { return prompt + generated; }
};
/// "5+2043". Throws InputError.
Lengths parse_lengths(const std::string& text);

}  // namespace condensed::eval
