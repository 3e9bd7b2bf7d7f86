# Which parts are built. What computes a model, and its check on a device, need CMake and compilers only; all the rest
# needs libraries.
set(CONDENSED_PARTS auto CACHE STRING
  "all: everything; compute: what computes a model, and its check; auto: all if everything it needs is found")
set_property(CACHE CONDENSED_PARTS PROPERTY STRINGS auto all compute)
if(NOT CONDENSED_PARTS MATCHES "^(auto|all|compute)$")
  message(FATAL_ERROR "CONDENSED_PARTS is \"${CONDENSED_PARTS}\": expected auto, all or compute")
endif()

set(missing_packages "")

# Notes the Debian package that brings what was not found.
macro(condensed_need found package)
  if(NOT ${found})
    list(APPEND missing_packages ${package})
  endif()
endmacro()

find_package(Threads REQUIRED)
if(NOT CONDENSED_PARTS STREQUAL compute)
  find_package(Boost 1.81 QUIET COMPONENTS json)
  condensed_need(Boost_FOUND libboost-json1.81-dev)
  find_package(spdlog QUIET)
  condensed_need(spdlog_FOUND libspdlog-dev)
  find_package(ZLIB QUIET)
  condensed_need(ZLIB_FOUND zlib1g-dev)
  find_path(CLI11_INCLUDE CLI/CLI.hpp)
  condensed_need(CLI11_INCLUDE libcli11-dev)
  find_path(PCG_INCLUDE pcg_random.hpp)
  condensed_need(PCG_INCLUDE libpcg-cpp-dev)
  find_file(D3_SOURCE d3.min.js PATHS /usr/share/nodejs/d3/dist NO_DEFAULT_PATH
    DOC "d3 version 5, minified, as Debian's package node-d3 has it")
  condensed_need(D3_SOURCE node-d3)
  find_package(PkgConfig QUIET)
  condensed_need(PkgConfig_FOUND pkg-config)
  if(PkgConfig_FOUND)
    # Prometheus' CMake configuration would look for the libraries of the parts that are not used here.
    foreach(needed sentencepiece/sentencepiece/libsentencepiece-dev tomlplusplus/tomlplusplus/libtomlplusplus-dev
        zstd/libzstd/libzstd-dev xxhash/libxxhash/libxxhash-dev prometheus/prometheus-cpp-core/prometheus-cpp-dev
        systemd/libsystemd/libsystemd-dev)
      string(REPLACE / ";" needed ${needed})
      list(GET needed 0 name)
      list(GET needed 1 module)
      list(GET needed 2 package)
      pkg_check_modules(${name} QUIET IMPORTED_TARGET ${module})
      condensed_need(${name}_FOUND ${package})
    endforeach()
  endif()
endif()

list(JOIN missing_packages ", " missing_text)
if(CONDENSED_PARTS STREQUAL all AND missing_packages)
  message(FATAL_ERROR "CONDENSED_PARTS is all, but this is missing (Debian's packages): ${missing_text}. "
    "etc/install-packages installs it; -DCONDENSED_PARTS=compute builds without.")
endif()
if(CONDENSED_PARTS STREQUAL compute OR missing_packages)
  set(CONDENSED_ALL_PARTS OFF)
else()
  set(CONDENSED_ALL_PARTS ON)
endif()

# Says at the end of the configuration what will be built, and why not more.
function(condensed_say_what_is_built)
  if(CONDENSED_ALL_PARTS)
    set(parts "all parts")
  elseif(CONDENSED_PARTS STREQUAL compute)
    set(parts "what computes a model and its check only (CONDENSED_PARTS=compute)")
  else()
    set(parts "what computes a model and its check only: no daemon, clients nor tests without ${missing_text}")
  endif()
  get_target_property(definitions condensed_kernels INTERFACE_COMPILE_DEFINITIONS)
  if(definitions MATCHES CONDENSED_CUDA)
    set(devices "with CUDA")
  else()
    set(devices "without CUDA")
  endif()
  message(STATUS "condensed builds ${parts}; ${devices}")
endfunction()
