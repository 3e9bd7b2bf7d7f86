#pragma once

#include <string>
#include <string_view>

#include <boost/json.hpp>

namespace condensed::ctl {

/// Where output goes: text for people, or every event as a line of JSON. Output that cannot be written, but
/// for want of a reader, throws std::system_error.
class Terminal {
 public:
  Terminal(bool json, bool verbose);

  bool notes_shown() const { return verbose_; }
  bool json() const { return json_; }
  bool output_is_terminal() const { return output_is_terminal_; }
  /// Nobody reads our output any more; what is written now is lost.
  bool output_closed() const { return output_closed_; }

  /// Text for people, written at once; nothing in JSON mode.
  void show(std::string_view text);
  /// In JSON mode, the event as a line.
  void event(const boost::json::object& event);
  /// To stderr, when that is a terminal or --verbose was given.
  void note(const std::string& line);

 private:
  void write(std::string_view text);

  bool json_;
  bool verbose_;
  bool output_is_terminal_;
  bool output_closed_ = false;
};

}  // namespace condensed::ctl
