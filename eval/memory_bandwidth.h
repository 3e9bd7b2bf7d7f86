#pragma once

namespace condensed::eval {

/// Bytes per second that n_threads together read from memory, the best of a few passes. Takes half a
/// gigabyte and about a second.
double read_bandwidth_bytes_per_s(int n_threads);

}  // namespace condensed::eval
