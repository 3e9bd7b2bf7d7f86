#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string_view>

namespace condensed::train {

/// `path` becomes a file of what `write` puts into the stream, at once: a crash leaves the old one or the new
/// one. Throws InputError, and then nothing is left of the new one.
void replace_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);
void replace_file(const std::filesystem::path& path, std::string_view content);

/// `written`, a complete file beside `path`, takes its place the same way.
void move_into_place(const std::filesystem::path& written, const std::filesystem::path& path);

}  // namespace condensed::train
