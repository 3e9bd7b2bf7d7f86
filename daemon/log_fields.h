#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Lines of the log may end in fields: words key=value whose key is known, as in
/// `cut off, 9000 bytes of events are unread connection=3`. A terminal shows them as they are; the journal
/// gets them as fields of their own.
namespace condensed::daemon {

struct LogLine {
  std::string_view text;                                              // without its fields
  std::vector<std::pair<std::string_view, std::string_view>> fields;  // key, value; each key once
};

/// Takes the fields off the end of a line.
LogLine split_fields(std::string_view line);

/// Text that came from outside, fit for a line of the log: in quotes, without control characters, and never
/// taken for a field.
std::string in_quotes(std::string_view text);

}  // namespace condensed::daemon
