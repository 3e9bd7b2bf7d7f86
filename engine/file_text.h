#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace condensed::engine {

/// All that a file holds. Throws InputError, "PATH: cannot be read: REASON" and then `remedy`.
std::string file_text(const std::filesystem::path& path, std::string_view remedy = {});

}  // namespace condensed::engine
