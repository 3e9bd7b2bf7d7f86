#include "clients/bench/conversations.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <boost/json.hpp>

#include "clients/bench/bundled_conversations.h"

namespace condensed::bench {

namespace json = boost::json;

namespace {

Conversations::Turns turns_of_object(std::string_view line, const std::string& where) {
  const auto refuse = [&](const std::string& found) {
    throw std::invalid_argument(where + ": expected a JSON object with \"turns\", a list of texts; found " +
                                found);
  };
  boost::system::error_code error;
  const json::value value = json::parse(line, error);
  if (error || !value.is_object()) {
    refuse(error ? "something that is no JSON (" + error.message() + ")" : "something else");
  }
  const json::value* list = value.get_object().if_contains("turns");
  if (list == nullptr || !list->is_array() || list->get_array().empty()) {
    refuse(list == nullptr ? "no \"turns\"" : json::serialize(*list).substr(0, 60));
  }
  Conversations::Turns turns;
  for (const json::value& turn : list->get_array()) {
    if (!turn.is_string() || turn.get_string().empty()) {
      refuse("the turn " + json::serialize(turn).substr(0, 60));
    }
    turns.emplace_back(turn.get_string());
  }
  return turns;
}

}  // namespace

Conversations Conversations::parse(std::string_view text, const std::string& source) {
  Conversations conversations;
  const bool objects = text.starts_with('{');
  Turns turns;
  const auto end_conversation = [&] {
    if (!turns.empty()) {
      conversations.all_.push_back(std::exchange(turns, {}));
    }
  };
  for (std::size_t n_lines = 1; !text.empty(); ++n_lines) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (line.empty()) {
      end_conversation();
    } else if (objects) {
      turns = turns_of_object(line, source + ", line " + std::to_string(n_lines));
      end_conversation();
    } else {
      turns.emplace_back(line);
    }
  }
  end_conversation();
  if (conversations.all_.empty()) {
    throw std::invalid_argument(source + ": expected at least one turn, found an empty file");
  }
  return conversations;
}

Conversations Conversations::from_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    throw std::invalid_argument(path + ": cannot be read");
  }
  return parse(text, path);
}

Conversations Conversations::bundled() {
  return parse(kBundledConversations, "the conversations that come with the program");
}

}  // namespace condensed::bench
