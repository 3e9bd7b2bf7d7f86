#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "engine/file_text.h"
#include "engine/input_error.h"
#include "engine/tokenizer.h"
#include "engine/utf8.h"
#include "train/text/commands.h"
#include "train/token_file.h"

namespace condensed::train {

namespace fs = std::filesystem;
using engine::InputError;
using engine::Tokenizer;

namespace {

constexpr std::size_t kPieceBytes = 1U << 16;  // encoded at a time

std::string read_text(const fs::path& path) {
  std::string text = engine::file_text(path);
  if (!engine::is_valid_utf8(text)) {
    throw InputError(path.string() + ": is not valid UTF-8; convert it first, with iconv for example");
  }
  return text;
}

}  // namespace

void run_prepare(const PrepareOptions& options) {
  const Tokenizer tokenizer(options.tokenizer, std::numeric_limits<int>::max());
  std::vector<std::int32_t> tokens;
  std::size_t n_bytes = 0;
  for (const fs::path& path : options.texts) {
    const std::string text = read_text(path);
    n_bytes += text.size();
    auto place = Tokenizer::Place::start;
    for (std::string_view rest = text; !rest.empty(); place = Tokenizer::Place::continuation) {
      const std::size_t n = engine::encodable_prefix(rest, kPieceBytes);
      const std::vector<std::int32_t> piece = tokenizer.encode(rest.substr(0, n), place);
      tokens.insert(tokens.end(), piece.begin(), piece.end());
      rest.remove_prefix(n);
    }
  }
  if (tokens.empty()) {
    throw InputError("the texts are empty: there is nothing to train on");
  }
  write_token_file(options.out, tokens, tokenizer.n_pieces());
  std::cout << options.out.string() << ": " << tokens.size() << " tokens of " << n_bytes << " bytes of text, "
            << static_cast<double>(n_bytes) / static_cast<double>(tokens.size()) << " bytes a token\n";
}

}  // namespace condensed::train
