#include "engine/tokenizer.h"

#include <algorithm>
#include <sentencepiece_processor.h>

#include "engine/file_text.h"
#include "engine/input_error.h"
#include "engine/sentencepiece_file.h"

namespace condensed::engine {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, sentencepiece's space

/// Protocol-buffer messages merge when their bytes are joined: this adds `normalizer_spec {
/// add_dummy_prefix: false, remove_extra_whitespaces: false }` to a serialised sentencepiece ModelProto.
constexpr std::string_view kNoLeadingSpace{"\x1A\x04\x18\x00\x20\x00", 6};

void load(sentencepiece::SentencePieceProcessor& processor, const std::filesystem::path& file,
          const std::string& serialised) {
  const sentencepiece::util::Status status = processor.LoadFromSerializedProto(serialised);
  if (!status.ok()) {
    throw InputError(file.string() + ": is not a sentencepiece model: " + status.ToString());
  }
}

Tokenizer::Kind kind_of_piece(const sentencepiece::SentencePieceProcessor& processor, int id) {
  if (processor.IsControl(id) || processor.IsUnused(id)) {
    return Tokenizer::Kind::control;
  }
  if (processor.IsUnknown(id)) {
    return Tokenizer::Kind::unknown;
  }
  return processor.IsByte(id) ? Tokenizer::Kind::byte : Tokenizer::Kind::text;
}

std::string bytes_of_piece(const sentencepiece::SentencePieceProcessor& processor, int id) {
  const std::string& piece = processor.IdToPiece(id);
  switch (kind_of_piece(processor, id)) {
    case Tokenizer::Kind::control:
      return {};
    case Tokenizer::Kind::unknown:
      return processor.DecodeIds(std::vector<int>{id});  // its surface, " ⁇ "
    case Tokenizer::Kind::byte:
      return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));  // "<0x0A>"
    case Tokenizer::Kind::text:
      break;
  }
  std::string out;
  for (std::string_view rest = piece; !rest.empty();) {
    const bool mark = rest.starts_with(kSpaceMark);
    out += mark ? ' ' : rest.front();
    rest.remove_prefix(mark ? kSpaceMark.size() : 1);
  }
  return out;
}

}  // namespace

struct Tokenizer::Processors {
  sentencepiece::SentencePieceProcessor start;         // as the file says
  sentencepiece::SentencePieceProcessor continuation;  // without a space before the first word
};

Tokenizer::Tokenizer(const std::filesystem::path& model_file, int vocab_size)
    : processors_(std::make_unique<Processors>()) {
  std::string serialised = file_text(model_file);
  const SpaceRules spaces = check_sentencepiece_model(model_file.string(), serialised);
  if (spaces.remove_extra_whitespaces) {
    leading_space_ = LeadingSpace::dropped;
  } else if (spaces.add_dummy_prefix) {
    leading_space_ = LeadingSpace::dropped_once;
  }
  load(processors_->start, model_file, serialised);
  load(processors_->continuation, model_file, serialised.append(kNoLeadingSpace));
  if (n_pieces() > vocab_size) {
    throw InputError(model_file.string() + ": has " + std::to_string(n_pieces()) +
                     " pieces, but vocab_size in config.json is " + std::to_string(vocab_size));
  }
  bytes_.reserve(static_cast<std::size_t>(n_pieces()));
  for (int id = 0; id < n_pieces(); ++id) {
    bytes_.push_back(bytes_of_piece(processors_->start, id));
    kinds_.push_back(kind_of_piece(processors_->start, id));
    if (kinds_.back() != Kind::byte && !is_valid_utf8(bytes_.back())) {
      throw InputError(model_file.string() + ": piece " + std::to_string(id) +
                       " is not valid UTF-8: the file is damaged; fetch it again");
    }
  }
}

Tokenizer::~Tokenizer() = default;

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, Place place) const {
  const auto& processor = place == Place::start ? processors_->start : processors_->continuation;
  std::vector<int> ids;
  const sentencepiece::util::Status status = processor.Encode(text, &ids);
  if (!status.ok()) {
    throw InputError("text cannot be tokenised: " + status.ToString());
  }
  return ids;
}

Tokenizer::Kind Tokenizer::kind(std::int32_t token) const {
  return token >= 0 && token < n_pieces() ? kinds_[token] : Kind::control;
}

std::string_view Tokenizer::bytes(std::int32_t token) const {
  return token >= 0 && token < n_pieces() ? std::string_view(bytes_[token]) : std::string_view();
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& tokens) const {
  return processors_->start.DecodeIds(tokens);
}

int Tokenizer::n_pieces() const {
  return processors_->start.GetPieceSize();
}

std::size_t encodable_prefix(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) {
    return text.size();
  }
  const auto begins_word = [&](std::size_t at) { return text[at] == ' ' && text[at - 1] != ' '; };
  for (std::size_t at = max_bytes; at > 0; --at) {
    if (begins_word(at)) {
      return at;
    }
  }
  // One very long word: look further ahead, but not for ever.
  for (std::size_t at = max_bytes; at < std::min(text.size(), 8 * max_bytes); ++at) {
    if (at > 0 && begins_word(at)) {
      return at;
    }
  }
  std::size_t at = std::max<std::size_t>(1, max_bytes);
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) {
    ++at;
  }
  return at;
}

}  // namespace condensed::engine
