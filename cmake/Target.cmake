# How a vRDMA target is compiled. Every target takes its warnings and sanitizers from here.
#
#   vrdma_library(NAME SOURCES... )                     a static library of one folder
#   vrdma_no_exceptions(TARGET)                         the core and everything loaded into a tenant
#   vrdma_hot_path(TARGET)                              a library whose functions a worker calls for each request:
#                                                       optimised across files in programs that ask for it
#   vrdma_executable(NAME SOURCES...)
#   vrdma_optimised_whole(TARGET)                       such a program
#   vrdma_test(NAME SOURCES... LINK libs...)            a GoogleTest program, registered with CTest

add_library(vrdma_options INTERFACE)
target_compile_options(vrdma_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wswitch-enum -Werror
  -fno-strict-aliasing -fstack-protector-strong)
target_include_directories(vrdma_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(vrdma_options INTERFACE _GNU_SOURCE)
if(VRDMA_SANITIZE)
  target_compile_options(vrdma_options INTERFACE -fsanitize=${VRDMA_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(vrdma_options INTERFACE -fsanitize=${VRDMA_SANITIZE})
  # The check of virtual calls needs run-time type information, which the core does not have.
  target_compile_options(vrdma_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=vptr>)
  if(VRDMA_SANITIZE MATCHES thread)
    # It does not model fences. Ours order memory shared with another process, which it cannot see.
    target_compile_options(vrdma_options INTERFACE -Wno-tsan)
  endif()
endif()

function(vrdma_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC vrdma_options)
endfunction()

function(vrdma_no_exceptions target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti>)
endfunction()

# A request crosses a dozen small functions of different files; inlining them is worth a sixth of its
# time (docs/performance.md). The objects are ordinary ones too, so that tests link quickly.
if(VRDMA_SANITIZE)  # a list with commas, which a generator expression would take for arguments
  set(VRDMA_WHOLE_PROGRAM 0)
else()
  set(VRDMA_WHOLE_PROGRAM $<AND:$<CXX_COMPILER_ID:GNU>,$<CONFIG:RelWithDebInfo,Release>>)
endif()

function(vrdma_hot_path target)
  target_compile_options(${target} PRIVATE $<${VRDMA_WHOLE_PROGRAM}:-flto=auto> $<${VRDMA_WHOLE_PROGRAM}:-ffat-lto-objects>)
endfunction()

function(vrdma_executable name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE vrdma_options)
endfunction()

function(vrdma_optimised_whole target)
  target_link_options(${target} PRIVATE $<${VRDMA_WHOLE_PROGRAM}:-flto=auto> $<${VRDMA_WHOLE_PROGRAM}:-O2>)
endfunction()

function(vrdma_test name)
  cmake_parse_arguments(T "" "" "LINK" ${ARGN})
  add_executable(${name} ${T_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE vrdma_options ${T_LINK} GTest::gtest GTest::gtest_main Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS "unit;gtest")
endfunction()
