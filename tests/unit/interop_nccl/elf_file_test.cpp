#include "tests/interop/nccl/elf_file.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>

#include <cstdio>
#include <fstream>

namespace vrdma::nccl_net {
namespace {

TEST(ElfFile, local_symbol_is_found_with_its_size) {
    const auto file = ElfFile::open(SAMPLE);
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_TRUE(file->has_symbol_table());
    const auto found = file->symbol("local_table");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->size, 3 * sizeof(void*));
}

TEST(ElfFile, address_of_a_symbol_is_where_the_loader_has_put_it) {
    const auto file = ElfFile::open(SAMPLE);
    ASSERT_TRUE(file);
    void* library = dlopen(SAMPLE, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
    link_map* map = nullptr;
    ASSERT_EQ(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    const auto found = file->symbol("exported_function");
    ASSERT_TRUE(found);
    EXPECT_EQ(reinterpret_cast<void*>(map->l_addr + found->address),
              dlsym(library, "exported_function"));
    dlclose(library);
}

TEST(ElfFile, stripped_file_has_no_local_symbol_but_still_the_exported_ones) {
    const auto file = ElfFile::open(STRIPPED);
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_FALSE(file->has_symbol_table());
    EXPECT_FALSE(file->symbol("local_table"));
    EXPECT_TRUE(file->symbol("exported_function"));
}

TEST(ElfFile, unknown_and_undefined_symbols_are_not_found) {
    const auto file = ElfFile::open(SAMPLE);
    ASSERT_TRUE(file);
    EXPECT_FALSE(file->symbol("no_such_symbol"));
    EXPECT_FALSE(file->symbol("__cxa_finalize"));
}

TEST(ElfFile, constants_are_searched) {
    const auto file = ElfFile::open(SAMPLE);
    ASSERT_TRUE(file);
    EXPECT_TRUE(file->constants_contain("ncclNetPlugin_v7"));
    EXPECT_FALSE(file->constants_contain("ncclNetPlugin_v8"));
}

TEST(ElfFile, file_that_is_missing_empty_or_no_library_is_refused) {
    EXPECT_FALSE(ElfFile::open("/nonexistent/library.so"));
    EXPECT_FALSE(ElfFile::open("/dev/null"));
    const auto file = ElfFile::open("/etc/passwd");
    ASSERT_FALSE(file);
    EXPECT_NE(file.error().message().find("not a 64-bit little-endian ELF file"),
              std::string::npos);
}

TEST(ElfFile, file_that_was_cut_off_has_no_symbols) {
    const std::string path = testing::TempDir() + "cut_off.so";
    std::ifstream whole(SAMPLE, std::ios::binary);
    std::string start(4096, '\0');
    whole.read(start.data(), static_cast<std::streamsize>(start.size()));
    std::ofstream(path, std::ios::binary) << start;
    const auto file = ElfFile::open(path);
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_FALSE(file->has_symbol_table());
    EXPECT_FALSE(file->symbol("exported_function"));
    (void)std::remove(path.c_str());
}

}  // namespace
}  // namespace vrdma::nccl_net
