#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/json.hpp>

namespace condensed::ctl {

/// Nobody reads our output any more.
class OutputClosed : public std::runtime_error {
 public:
  OutputClosed() : std::runtime_error("output closed") {}
};

/// Where output goes: text for people, or every event as a line of JSON.
class Terminal {
 public:
  Terminal(bool json, bool verbose);

  bool json() const { return json_; }
  bool output_is_terminal() const { return output_is_terminal_; }
  bool input_is_terminal() const { return input_is_terminal_; }

  /// Writes at once. Throws OutputClosed.
  void write(std::string_view text);
  /// The same unless events are printed as JSON.
  void show(std::string_view text);
  /// In JSON mode, the event as a line.
  void event(const boost::json::object& event);
  /// To stderr, when that is a terminal or --verbose was given.
  void note(const std::string& line);

  static std::string read_all_input();

 private:
  bool json_;
  bool verbose_;
  bool output_is_terminal_;
  bool input_is_terminal_;
};

}  // namespace condensed::ctl
