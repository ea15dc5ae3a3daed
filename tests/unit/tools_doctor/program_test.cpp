#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tools/vrdma-doctor/look.h"

namespace vrdma::doctor {
namespace {

class ProgramFile : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "doctor-XXXXXX";
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    std::string executable(const std::string& content) {
        const std::string path = directory_ / "program";
        std::ofstream(path, std::ios::binary) << content;
        chmod(path.c_str(), 0755);
        return path;
    }
    static std::string bytes_of(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    std::filesystem::path directory_;
};

TEST_F(ProgramFile, dynamic_verbs_program_is_recognised) {
    const Program program = look_at_program(VERBS_PROGRAM);
    EXPECT_TRUE(program.problem.empty());
    EXPECT_TRUE(program.elf);
    EXPECT_FALSE(program.foreign);
    EXPECT_NE(program.interpreter.find("ld-linux"), std::string::npos);
    EXPECT_TRUE(program.links_libibverbs);
}

TEST_F(ProgramFile, program_without_verbs_does_not_link_libibverbs) {
    EXPECT_FALSE(look_at_program(PATH_PROBE).links_libibverbs);
}

TEST_F(ProgramFile, static_program_has_no_interpreter) {
    const Program program = look_at_program(STATIC_PROGRAM);
    EXPECT_TRUE(program.elf);
    EXPECT_TRUE(program.interpreter.empty());
}

TEST_F(ProgramFile, script_is_its_interpreter) {
    const Program program = look_at_program(executable("#!" VERBS_PROGRAM " -u\nrubbish\n"));
    EXPECT_TRUE(program.elf);
    EXPECT_TRUE(program.links_libibverbs);
}

TEST_F(ProgramFile, script_that_is_its_own_interpreter_ends) {
    const std::string path = directory_ / "program";
    EXPECT_FALSE(look_at_program(executable("#!" + path + "\n")).elf);
}

TEST_F(ProgramFile, program_of_another_word_size_is_foreign) {
    std::string bytes = bytes_of(VERBS_PROGRAM);
    bytes[4] = 1;  // EI_CLASS: 32 bit
    EXPECT_TRUE(look_at_program(executable(bytes)).foreign);
}

TEST_F(ProgramFile, program_of_another_machine_is_foreign) {
    std::string bytes = bytes_of(VERBS_PROGRAM);
    bytes[18] = static_cast<char>(bytes[18] + 1);  // e_machine
    EXPECT_TRUE(look_at_program(executable(bytes)).foreign);
}

TEST_F(ProgramFile, file_cut_off_anywhere_is_survived) {
    const std::string bytes = bytes_of(VERBS_PROGRAM);
    for (std::size_t length = 0; length < bytes.size(); length += length < 1024 ? 61 : 1777) {
        const Program program = look_at_program(executable(bytes.substr(0, length)));
        EXPECT_EQ(program.elf, length >= 64) << length;
    }
}

TEST_F(ProgramFile, other_file_is_unknown) {
    EXPECT_FALSE(look_at_program(executable("echo hello\n")).elf);
}

TEST_F(ProgramFile, name_that_is_not_there_is_a_problem) {
    EXPECT_FALSE(look_at_program((directory_ / "nothing").string()).problem.empty());
}

}  // namespace
}  // namespace vrdma::doctor
