#pragma once

#include <string_view>

namespace condensed::bench {

/// In the format of Conversations::parse: a turn in a line, an empty line after a conversation. Written for
/// this program.
extern const std::string_view kBundledConversations;

}  // namespace condensed::bench
