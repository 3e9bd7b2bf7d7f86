// What stands around the kernels and needs no device: memory shared out, capacities, plans, parameters,
// errors.

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/capacities.h"
#include "kernels/cuda/cuda_devices.h"
#include "kernels/cuda/device_backend.h"
#include "kernels/cuda/device_error.h"
#include "kernels/cuda/launches.h"
#include "kernels/cuda/parameters.h"
#include "kernels/cuda/slab.h"
#include "kernels/cuda/stored_planes.h"
#include "kernels/stored_row.h"
#include "tests/kernels/cuda_emulation/emulated_backend.h"
#include "tests/kernels/cuda_emulation/runtime_calls.h"

namespace condensed::kernels::cuda {
namespace {

using testing::HasSubstr;

/// Regions that are numbers only: a slab touches none of them.
struct Regions {
  std::size_t left = 0;
  std::vector<std::size_t> sizes;
  std::byte* grow(std::size_t bytes) {
    if (bytes > left) {
      return nullptr;
    }
    left -= bytes;
    sizes.push_back(bytes);
    return reinterpret_cast<std::byte*>(sizes.size() << 40);
  }
};

TEST(Slab, SharesOutWithoutOverlapAndJoinsWhatComesBack) {
  Regions regions{.left = 1 << 20};
  Slab slab(1 << 16, [&](std::size_t bytes) { return regions.grow(bytes); });
  std::mt19937 random(1);
  std::map<std::byte*, std::size_t> held;
  for (int i = 0; i < 3000; ++i) {
    if (held.empty() || random() % 2 == 0) {
      const std::size_t bytes = 1 + random() % 5000;
      std::byte* data = slab.take(bytes);
      ASSERT_NE(data, nullptr);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data) % Slab::kAlignment, 0U);
      const auto [at, fresh] = held.emplace(data, bytes);
      ASSERT_TRUE(fresh);
      if (const auto next = std::next(at); next != held.end()) {
        ASSERT_LE(data + bytes, next->first);
      }
      if (at != held.begin()) {
        ASSERT_LE(std::prev(at)->first + std::prev(at)->second, data);
      }
    } else {
      const auto some = std::next(held.begin(), static_cast<std::ptrdiff_t>(random() % held.size()));
      slab.give_back(some->first);
      held.erase(some);
    }
  }
  for (const auto& [data, bytes] : held) {
    slab.give_back(data);
  }
  EXPECT_EQ(slab.used_bytes(), 0U);
  const std::size_t n_regions = regions.sizes.size();
  for (std::size_t i = 0; i < n_regions; ++i) {  // every region is one block again
    EXPECT_NE(slab.take(1 << 16), nullptr);
  }
  EXPECT_EQ(regions.sizes.size(), n_regions);
}

TEST(Slab, TakesLessThanARegionWhereThatIsAllThereIs) {
  Regions regions{.left = 3000};
  Slab slab(1 << 16, [&](std::size_t bytes) { return regions.grow(bytes); });
  EXPECT_NE(slab.take(2000), nullptr);
  EXPECT_EQ(slab.held_bytes(), 2048U);
  EXPECT_EQ(slab.take(2000), nullptr);
  EXPECT_EQ(slab.used_bytes(), 2048U);
}

TEST(Slab, TakesLittleMoreThanIsAskedFor) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  for (const std::size_t hidden : {3584U, 4096U, 5120U, 6656U, 8192U}) {  // 7B to 70B
    Regions regions{.left = std::size_t{1} << 40};
    Slab slab(256 * kMiB, [&](std::size_t bytes) { return regions.grow(bytes); });
    const std::size_t gated = hidden * 27 / 10;
    const auto take = [&](std::size_t numbers) { ASSERT_NE(slab.take(2 * numbers), nullptr); };
    take(32000 * hidden);
    for (int layer = 0; layer < 40; ++layer) {
      for (const std::size_t rows : {hidden, hidden, hidden, hidden, gated, gated, gated}) {
        take(rows * hidden);
      }
      take(2 * hidden);
    }
    EXPECT_LE(slab.held_bytes(), slab.used_bytes() + slab.used_bytes() / 20 + 256 * kMiB) << hidden;
  }
}

TEST(Memory, TooLittleIsAnErrorWithItsArithmetic) {
  emulation::set_memory_bytes(10 << 20);
  const auto backend = emulation::make_emulated_backend();
  const Memory some = backend->allocate(4 << 20);
  try {
    backend->allocate(64 << 20);
    FAIL() << "nothing was thrown";
  } catch (const std::bad_alloc& error) {
    EXPECT_THAT(error.what(), HasSubstr("no room for 64.00 MiB"));
    EXPECT_THAT(error.what(), HasSubstr("of 10.00 MiB are free"));
    EXPECT_THAT(error.what(), HasSubstr("condensed holds 4.00 MiB"));
  }
  EXPECT_NE(backend->allocate(1 << 20).get(), nullptr);
  emulation::set_memory_bytes(std::size_t{1} << 32);
}

TEST(Memory, IsReservedAsFarAsItGoes) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  emulation::set_memory_bytes(64 * kMiB);
  {
    const auto backend = emulation::make_emulated_backend();
    EXPECT_EQ(backend->reserve(16 * kMiB), 16 * kMiB);
    EXPECT_EQ(backend->reserve(8 * kMiB), 8 * kMiB);
    std::vector<Memory> blocks;
    for (int i = 0; i < 160; ++i) {
      blocks.push_back(backend->allocate(100 * 1024));
    }
    const std::size_t most = backend->reserve(std::size_t{1} << 40);
    EXPECT_GT(most, 30 * kMiB);
    EXPECT_LT(most, 60 * kMiB);  // some is kept for what steps need
    blocks.clear();
    for (std::size_t taken = 0; taken + 10 * kMiB <= 40 * kMiB; taken += kMiB) {
      blocks.push_back(backend->allocate(kMiB));
    }
  }
  emulation::set_memory_bytes(std::size_t{1} << 32);
}

std::size_t free_bytes() {
  std::size_t free = 0;
  std::size_t total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  return free;
}

TEST(Memory, ThatIsKeptForStepsIsNotAllocated) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  emulation::set_memory_bytes(64 * kMiB);
  {
    const auto backend = emulation::make_emulated_backend();
    const std::size_t reserved = backend->reserve(std::size_t{1} << 40);
    std::vector<Memory> blocks;
    EXPECT_THROW(
        for (int i = 0; i < 64; ++i) { blocks.push_back(backend->allocate(kMiB)); }, std::bad_alloc);
    EXPECT_GE(blocks.size() * kMiB, reserved / kMiB * kMiB);
    EXPECT_GE(free_bytes(), cuda_kept_bytes(64 * kMiB));
  }
  emulation::set_memory_bytes(std::size_t{1} << 32);
}

TEST(Memory, IsReservedInTheHoleThatIsLeftWhereThatDoes) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  DeviceBackend backend(
      0, [] { return nullptr; }, /*region_bytes=*/16 * kMiB);
  const Memory weights = backend.allocate(kMiB);
  const std::size_t before = free_bytes();
  EXPECT_EQ(backend.reserve(12 * kMiB), 12 * kMiB);
  std::vector<Memory> blocks;
  for (int i = 0; i < 12; ++i) {
    blocks.push_back(backend.allocate(kMiB));
  }
  EXPECT_EQ(free_bytes(), before);
  EXPECT_EQ(backend.reserve(20 * kMiB), 20 * kMiB);
  EXPECT_LT(free_bytes(), before);
}

TEST(Memory, IsReservedInPartWhereNotAllOfItIsInOnePiece) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  const auto backend = emulation::make_emulated_backend();
  emulation::fail_call("cudaMalloc", cudaErrorMemoryAllocation);
  const std::size_t some = backend->reserve(16 * kMiB);
  EXPECT_GE(some, 13 * kMiB);
  EXPECT_LT(some, 15 * kMiB);
  EXPECT_EQ(backend->reserve(16 * kMiB), 16 * kMiB);
}

TEST(Memory, ThatCannotBeReservedAtAllIsAnError) {
  emulation::set_memory_bytes(8 << 20);
  {
    const auto backend = emulation::make_emulated_backend();
    const Memory most = backend->allocate(8'000'000);
    EXPECT_THROW(backend->reserve(1 << 20), std::bad_alloc);
  }
  emulation::set_memory_bytes(std::size_t{1} << 32);
}

TEST(Memory, IsZeroedWhenItIsUsedAgain) {
  const auto backend = emulation::make_emulated_backend();
  const std::vector<std::byte> ones(1000, std::byte{1});
  for (int i = 0; i < 2; ++i) {
    const Memory memory = backend->allocate(1000);
    std::vector<std::byte> host(1000, std::byte{7});
    backend->download({memory.get(), 1000}, host);
    EXPECT_THAT(host, testing::Each(std::byte{0}));
    backend->upload(ones, {memory.get(), 1000});
  }
}

TEST(Capacities, BucketsAreFewAndNotFarAbove) {
  std::set<std::int64_t> buckets;
  for (std::int64_t n = 1; n <= 512; ++n) {
    const std::int64_t bucket = row_bucket(n);
    EXPECT_GE(bucket, n);
    EXPECT_EQ(row_bucket(bucket), bucket);
    EXPECT_LE(bucket, n <= 8 ? 2 * n : n + 63);
    buckets.insert(bucket);
  }
  EXPECT_LE(buckets.size(), 20U);
  for (std::int64_t n = 1; n <= 100000; n += 7) {
    EXPECT_GE(rounded_capacity(n), n);
    EXPECT_LE(rounded_capacity(n), n + n / 8 + 1);
    EXPECT_EQ(rounded_capacity(rounded_capacity(n)), rounded_capacity(n));
  }
  for (const std::int64_t few : {0, 1, 64, 256}) {
    EXPECT_EQ(adjustment_capacity(few), 256);
  }
  for (std::int64_t n = 257; n <= 1'000'000; n += 97) {
    EXPECT_GE(adjustment_capacity(n), n);
    EXPECT_LT(adjustment_capacity(n), 4 * n);
    EXPECT_EQ(adjustment_capacity(adjustment_capacity(n)), adjustment_capacity(n));
  }
}

TEST(AttentionPlan, CutsRowsIntoItemsThatCoverEveryTokenOnce) {
  std::mt19937 random(5);
  std::vector<std::byte> memory(1 << 20);
  for (int round = 0; round < 50; ++round) {
    const AttentionShape shape{
        .n_heads = 8, .n_kv_heads = static_cast<int>(1U << random() % 4), .head_dim = 64};
    std::vector<KvRun> runs;
    std::vector<std::int32_t> run_begin = {0};
    for (int r = 0; r < 4; ++r) {
      for (auto n = random() % 5; n > 0; --n) {
        runs.push_back({.keys = memory.data() + 16 * (random() % 100),
                        .values = memory.data(),
                        .n_tokens = static_cast<std::int32_t>(random() % 700),
                        .token_stride_bytes = 128,
                        .head_stride_bytes = 4096,
                        .dtype = DType::bf16,
                        .frame = random() % 2 == 0 ? Frame::sink : Frame::stream});
      }
      run_begin.push_back(static_cast<std::int32_t>(runs.size()));
    }
    AttentionPlan plan;
    plan.make(shape, runs, run_begin);
    ASSERT_EQ(plan.item_begin.size(), 5U);
    for (std::int32_t r = 0; r < 4; ++r) {
      std::vector<std::pair<const std::byte*, std::uint8_t>> expected;
      for (std::int32_t i = run_begin[r]; i < run_begin[r + 1]; ++i) {
        for (std::int32_t j = 0; j < runs[i].n_tokens; ++j) {
          expected.emplace_back(runs[i].keys + j * 128, runs[i].frame == Frame::sink);
        }
      }
      std::vector<std::pair<const std::byte*, std::uint8_t>> covered;
      for (std::int32_t i = plan.item_begin[r]; i < plan.item_begin[r + 1]; ++i) {
        const AttentionItem& item = plan.items[i];
        EXPECT_EQ(item.row, r);
        EXPECT_LE(item.n_tokens, plan.max_tokens);
        const std::size_t before = covered.size();
        for (std::int32_t s = 0; s < item.n_segments; ++s) {
          const Segment& segment = plan.segments[item.first_segment + s];
          EXPECT_EQ(segment.vectors, 1);
          for (std::int32_t j = 0; j < segment.n_tokens; ++j) {
            covered.emplace_back(segment.keys + j * segment.token_stride_bytes, segment.of_sinks);
          }
        }
        EXPECT_EQ(covered.size() - before, static_cast<std::size_t>(item.n_tokens));
      }
      EXPECT_EQ(covered, expected);
      EXPECT_LE(plan.item_begin[r + 1] - plan.item_begin[r], plan.max_items);
    }
  }
}

TEST(AttentionPlan, ReadsVectorsOnlyWhereEveryRowIsAligned) {
  alignas(16) static std::byte memory[64];
  const auto vectors = [&](DType dtype, int head_dim, std::int32_t stride, std::size_t offset) {
    const KvRun run{memory + offset, memory, 1, stride, 16, dtype, Frame::stream};
    AttentionPlan plan;
    plan.make({.n_heads = 1, .n_kv_heads = 1, .head_dim = head_dim}, {&run, 1},
              std::vector<std::int32_t>{0, 1});
    return plan.segments.front().vectors == 1;
  };
  EXPECT_TRUE(vectors(DType::bf16, 64, 128, 0));
  EXPECT_FALSE(vectors(DType::bf16, 64, 132, 0));
  EXPECT_FALSE(vectors(DType::f16, 64, 128, 8));
  EXPECT_FALSE(vectors(DType::f32, 36, 144, 0));
  EXPECT_FALSE(vectors(DType::q8, 64, 80, 0));
}

TEST(StoredPlanes, HoldTheRowsInOrderAndZerosBehindThem) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::q8, DType::q4}) {
    constexpr std::int64_t kRows = 5, kCols = 301;
    const auto stored = static_cast<std::size_t>(row_bytes(dtype, kCols));
    std::vector<std::byte> bytes(kRows * stored);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(1 + i % 250);
    }
    const MatrixView view{dtype, bytes.data(), kRows, kCols};
    const Planes planes = planes_of(dtype, kRows, kCols);
    EXPECT_EQ(planes.number_stride % 16, 0);
    const PlaneBytes sizes = plane_bytes(planes, 2);
    std::vector<std::byte> split(sizes.total(), std::byte{0xee});
    split_rows(view, planes, 3, 2, split);
    for (std::int64_t r = 0; r < 2; ++r) {
      std::vector<std::byte> row;
      const auto take = [&](std::size_t plane, std::int64_t stride, std::int64_t n) {
        const auto at = split.begin() + static_cast<std::ptrdiff_t>(plane) + r * stride;
        row.insert(row.end(), at, at + n);
        EXPECT_TRUE(std::all_of(at + n, at + stride, [](std::byte b) { return b == std::byte{0}; }));
      };
      take(0, planes.number_stride, number_bytes(dtype, kCols));
      take(sizes.numbers, planes.factor_stride, dtype == DType::q4 ? 10 : 0);
      take(sizes.numbers + sizes.factors, planes.scale_stride, planes.scale_stride);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), view.row(3 + r), view.row(3 + r) + stored))
          << name_of(dtype);
    }
  }
}

TEST(Parameters, OfAStepStandAtTheSamePlacesEveryTime) {
  const Stream stream = make_stream();
  Parameters parameters(stream.get());
  const std::vector<std::int64_t> many(300000, 5);  // more than a piece
  std::vector<const void*> first;
  for (int step = 0; step < 3; ++step) {
    parameters.begin_step();
    std::vector<const void*> places;
    for (std::size_t n = 1; n <= 40; ++n) {
      places.push_back(parameters.place(std::span(many).first(n + static_cast<std::size_t>(step)), 64));
    }
    places.push_back(parameters.place(std::span<const std::int64_t>(many), many.size()));
    places.push_back(parameters.place(std::span<const std::int64_t>(many), many.size()));
    places.push_back(parameters.place(std::span(many).first(1), 1));
    const std::set<const void*> distinct(places.begin(), places.end());
    EXPECT_EQ(distinct.size(), places.size());
    if (step == 0) {
      first = places;
    }
    EXPECT_EQ(places, first);
    parameters.end_step();
  }
}

TEST(Parameters, OutsideAStepNothingIsWrittenOverThatMayStillBeRead) {
  const Stream stream = make_stream();
  Parameters parameters(stream.get());
  const std::vector<std::byte> some(std::size_t{1} << 20);
  const long before = emulation::counts().synchronisations;
  std::int64_t generation = parameters.generation();
  std::set<const void*> places;
  for (int i = 0; i < 100; ++i) {
    const void* place = parameters.place(std::span(some), some.size());
    if (parameters.generation() != generation) {  // only after a wait
      generation = parameters.generation();
      places.clear();
    }
    EXPECT_TRUE(places.insert(place).second);
  }
  EXPECT_GT(emulation::counts().synchronisations, before);
}

DriverCalls machine_with(int driver, int devices, int capability) {
  return {.driver_version = [=](int& version) { return version = driver, std::string(); },
          .runtime_version = [](int& version) { return version = 13000, std::string(); },
          .device_count = [=](int& count) { return count = devices, std::string(); },
          .describe =
              [=](CudaDevice& device) {
                device.name = "Test GPU";
                device.compute_capability = capability;
                return std::string();
              },
          .free_bytes = [](CudaDevice&) { return std::string(); }};
}

std::string why_none_of(const DriverCalls& calls) {
  std::string why;
  EXPECT_TRUE(find_devices(calls, why).empty());
  return why;
}

TEST(Devices, AreFoundWithASuitableDriver) {
  std::string why = "old text";
  const auto devices = find_devices(machine_with(13010, 2, 90), why);
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[1].index, 1);
  EXPECT_EQ(devices[1].name, "Test GPU");
  EXPECT_EQ(why, "");
}

TEST(Devices, WhatIsMissingIsSaid) {
  EXPECT_THAT(why_none_of(machine_with(0, 0, 0)), HasSubstr("no NVIDIA driver"));
  EXPECT_THAT(why_none_of(machine_with(12040, 1, 90)),
              testing::AllOf(HasSubstr("knows CUDA 12.4"), HasSubstr("built with CUDA 13.0")));
  EXPECT_THAT(why_none_of(machine_with(13000, 0, 0)), HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(why_none_of(machine_with(13000, 1, 75)),
              testing::AllOf(HasSubstr("Test GPU"), HasSubstr("capability 7.5"), HasSubstr("8.0")));
  DriverCalls refusing = machine_with(13000, 1, 90);
  refusing.device_count = [](int&) { return std::string("permission denied"); };
  EXPECT_THAT(why_none_of(refusing), HasSubstr("permission denied"));
  DriverCalls silent = machine_with(13000, 1, 90);
  silent.describe = [](CudaDevice&) { return std::string("out of memory"); };
  EXPECT_THAT(why_none_of(silent), HasSubstr("device 0 does not answer: out of memory"));
}

TEST(Devices, TheDriverIsAskedThroughTheRuntime) {
  std::string why;
  const auto devices = kernels::cuda_devices(why);
  ASSERT_EQ(devices.size(), 1U) << why;
  EXPECT_EQ(devices[0].compute_capability, 90);
  EXPECT_GT(devices[0].free_bytes, 0U);
  emulation::set_driver_version(0);
  EXPECT_TRUE(kernels::cuda_devices(why).empty());
  EXPECT_THAT(why, HasSubstr("no NVIDIA driver"));
  emulation::set_driver_version(13000);
}

TEST(Devices, OfSeveralNoneIsOpenedBeforeItIsChosen) {
  emulation::set_devices(2);
  const auto other = emulation::make_emulated_backend(1);
  const Memory some = other->allocate(1 << 20);
  const long before = emulation::counts().devices_made_current;
  std::string why;
  const auto devices = kernels::cuda_devices(why);
  ASSERT_EQ(devices.size(), 2U) << why;
  EXPECT_EQ(devices[1].free_bytes, devices[1].memory_bytes);
  EXPECT_EQ(emulation::counts().devices_made_current, before);
  EXPECT_LT(kernels::cuda_free_bytes(1), devices[1].memory_bytes);
  EXPECT_EQ(emulation::counts().devices_made_current, before + 1);
  EXPECT_THROW(kernels::cuda_free_bytes(2), kernels::DeviceError);
  emulation::set_devices(1);
}

TEST(Devices, EveryCallIsForTheBackendsOwnWhateverTheThread) {
  emulation::set_devices(2);
  {
    const std::size_t elsewhere = emulation::bytes_on(0);
    const auto backend = emulation::make_emulated_backend(1);
    const auto on_new_thread = [](const auto& work) { std::jthread(work).join(); };
    const Memory a = backend->allocate(64 * sizeof(float));
    const Memory logits = backend->allocate(std::size_t{1} << 20);
    const std::span numbers(reinterpret_cast<float*>(a.get()), 64);
    on_new_thread([&] { EXPECT_EQ(backend->max_abs_difference(numbers, numbers), 0); });
    // The first thing that an operation does is to place its parameters; then it takes scratch memory.
    on_new_thread([&] {
      backend->store_kv(numbers, numbers, 1, 64, DType::f32,
                        std::vector<KvSlot>{{.keys = logits.get(), .values = logits.get() + 4096}});
    });
    on_new_thread([&] {
      const std::vector<KvRun> runs = {
          {.keys = logits.get(), .values = logits.get(), .n_tokens = 1, .token_stride_bytes = 256}};
      backend->attend({.n_heads = 1, .n_kv_heads = 1, .head_dim = 64}, numbers, numbers, runs,
                      std::vector<std::int32_t>{0, 1}, numbers);
    });
    EXPECT_EQ(emulation::bytes_on(0), elsewhere);
  }
  emulation::set_devices(1);
}

TEST(Memory, IsGivenBackOnlyWhenNothingRunsThatUsesIt) {
  const long before = emulation::counts().frees_while_busy;
  {
    const auto backend = emulation::make_emulated_backend();
    const Memory memory = backend->allocate(256);
    backend->fill_zero({reinterpret_cast<float*>(memory.get()), 64});
  }
  EXPECT_EQ(emulation::counts().frees_while_busy, before);
}

TEST(Launches, KeepToTheGridsLimits) {
  constexpr std::int64_t kRows = 65'536, kVocab = 512'000;  // as many rows as max_batch_tokens may be
  const auto limited = [](const Command& command) {
    EXPECT_LE(command.grid[1], 65'535U);
    EXPECT_LE(command.grid[2], 65'535U);
    return static_cast<std::int64_t>(command.grid[0]);
  };
  EXPECT_EQ(limited(rotate_command(kRows, {.row_size = 4096, .head_dim = 128})), kRows);
  EXPECT_EQ(limited(embed_command(kRows, {.table = {.cols = 4096}})), kRows);
  EXPECT_EQ(limited(store_kv_command(kRows, {.n_kv_heads = 8, .head_dim = 128})), kRows);
  float number = 0;
  const ProjectedMatrix matrix{.weight = {.rows = 16'384, .cols = 4096}, .out = &number, .rotated = 1};
  EXPECT_EQ(
      limited(project_command(DType::f32, kRows, {.matrices = {matrix, matrix, matrix}, .head_dim = 128})),
      3 * 4096 * (kRows / 8));
  EXPECT_EQ(limited(rms_norm_command(kRows, {.cols = 4096})), kRows);
  EXPECT_EQ(limited(choose_command(kRows, {.cols = kVocab})), kRows);
  limited(attend_command(kRows, {.n_heads = 32, .n_kv_heads = 8, .head_dim = 128, .max_tokens = 512}));
  limited(small_product_command(DType::f32, kRows, {.a = {.rows = kVocab, .cols = 4096}}));
  limited(small_product_command(DType::bf16, kMostSmallRows, {.a = {.rows = kVocab, .cols = 4096}}));
}

TEST(Attention, OfMoreSegmentsThanAPieceOfParametersHolds) {
  const auto backend = emulation::make_emulated_backend();
  constexpr std::size_t kMany = Parameters::kPieceBytes / sizeof(Segment) + 10;
  const Memory memory = backend->allocate(4 * sizeof(float));
  const std::vector<float> host = {1, 2, 1, 2};
  backend->upload(std::as_bytes(std::span(host)), {memory.get(), 4 * sizeof(float)});
  const std::span query(reinterpret_cast<float*>(memory.get()), 2);
  for (std::size_t n = kMany; n < kMany + 4; ++n) {  // with what goes before, more than four pieces
    const std::vector<KvRun> runs(
        n, {.keys = memory.get(), .values = memory.get(), .n_tokens = 1, .token_stride_bytes = 8});
    const std::span out(query.data() + 2, 2);
    backend->attend({.n_heads = 1, .n_kv_heads = 1, .head_dim = 2}, query, query, runs,
                    std::vector<std::int32_t>{0, static_cast<std::int32_t>(n)}, out);
    std::vector<float> result(2);
    backend->download(std::as_bytes(out), std::as_writable_bytes(std::span(result)));
    EXPECT_NEAR(result[0], 1, 1e-4);
    EXPECT_NEAR(result[1], 2, 2e-4);
  }
}

TEST(Errors, NameTheCallTheReasonAndWhatToDo) {
  emulation::fail_call("cudaStreamCreateWithFlags", cudaErrorInsufficientDriver);
  try {
    emulation::make_emulated_backend();
    FAIL() << "nothing was thrown";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.call(), "cudaStreamCreateWithFlags");
    EXPECT_THAT(error.what(), HasSubstr("install a newer NVIDIA driver"));
  }
  EXPECT_EQ(bytes_in_words(7), "7 bytes");
  EXPECT_EQ(bytes_in_words(std::size_t{3} << 29), "1.50 GiB");
}

}  // namespace
}  // namespace condensed::kernels::cuda
