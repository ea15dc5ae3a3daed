#include "tools/vrdma-perf/options.h"

#include <gtest/gtest.h>

#include <functional>

namespace vrdma::perf {
namespace {

Options good() {
    Options options;
    options.sizes = {8, 4096};
    return options;
}

struct Broken {
    const char* rule;  ///< what the message must say
    std::function<void(Options&)> damage;
};

class BrokenOptions : public testing::TestWithParam<Broken> {};

TEST_P(BrokenOptions, are_refused_by_their_rule) {
    Options options = good();
    ASSERT_TRUE(validate(options));
    GetParam().damage(options);
    const auto valid = validate(options);
    ASSERT_FALSE(valid);
    EXPECT_EQ(valid.error().kind, verbs_util::ErrorKind::kUsage);
    EXPECT_NE(valid.error().message().find(GetParam().rule), std::string::npos)
        << valid.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    Each, BrokenOptions,
    testing::Values(Broken{"does not exist over uc",
                           [](Options& o) {
                               o.operation = Operation::kRead;
                               o.transport = IBV_QPT_UC;
                           }},
                    Broken{"does not exist over ud", [](Options& o) { o.transport = IBV_QPT_UD; }},
                    Broken{"no message size", [](Options& o) { o.sizes.clear(); }},
                    Broken{"above the limit", [](Options& o) { o.sizes = {kMaxMessage + 1}; }},
                    Broken{"one packet",
                           [](Options& o) {
                               o.operation = Operation::kSend;
                               o.transport = IBV_QPT_UD;
                               o.sizes = {4097};
                           }},
                    Broken{"moves 8 bytes", [](Options& o) { o.operation = Operation::kFetchAdd; }},
                    Broken{"--mr-bytes", [](Options& o) { o.mr_bytes = 4095; }},
                    Broken{"inline",
                           [](Options& o) {
                               o.operation = Operation::kRead;
                               o.max_inline = 64;
                           }},
                    Broken{"--qps", [](Options& o) { o.qps = 0; }},
                    Broken{"--qps", [](Options& o) { o.qps = kMaxQueuePairs + 1; }},
                    Broken{"--active", [](Options& o) { o.active = 2; }},
                    Broken{"--active", [](Options& o) { o.active = 0; }},
                    Broken{"--window", [](Options& o) { o.window = 0; }},
                    Broken{"--window", [](Options& o) { o.window = kMaxWindow + 1; }},
                    Broken{"--post-list", [](Options& o) { o.post_list = 65; }},
                    Broken{"--signal-every", [](Options& o) { o.signal_every = 65; }},
                    Broken{"--signal-every",
                           [](Options& o) {
                               o.post_list = 40;
                               o.signal_every = 26;
                           }},
                    Broken{"--samples", [](Options& o) { o.samples = 0; }},
                    Broken{"--duration", [](Options& o) { o.seconds = 0.0; }},
                    Broken{"--cpu",
                           [](Options& o) {
                               o.cpus = {0, 1, 2};
                           }},
                    Broken{"--peer-device",
                           [](Options& o) {
                               o.mode = Mode::kClient;
                               o.peer_device = "vrdma1";
                           }},
                    Broken{"--separate-contexts",
                           [](Options& o) {
                               o.mode = Mode::kPair;
                               o.separate_contexts = true;
                           }},
                    Broken{"--until-received", [](Options& o) { o.until_received = true; }},
                    Broken{"--until-received", [](Options& o) {
                               o.mode = Mode::kPair;
                               o.operation = Operation::kSend;
                               o.until_received = true;
                           }}));

TEST(Options, list_and_signal_at_the_limit_are_accepted) {
    Options options = good();
    options.post_list = 40;
    options.signal_every = 25;
    EXPECT_TRUE(validate(options));
}

template <typename... Args>
std::variant<Options, int> parse(Args... args) {
    const char* argv[] = {"vrdma-perf", args...};
    return parse_options(static_cast<int>(std::size(argv)), argv);
}

TEST(ParseOptions, values_arrive) {
    const auto parsed =
        parse("--pair", "-o", "send", "-t", "ud", "-s", "8,1K", "-q", "16", "--active", "2", "-n",
              "100", "--memory", "memfd", "--cpu", "0,1", "--verify", "--json");
    ASSERT_TRUE(std::holds_alternative<Options>(parsed));
    const auto& options = std::get<Options>(parsed);
    EXPECT_EQ(options.mode, Mode::kPair);
    EXPECT_EQ(options.operation, Operation::kSend);
    EXPECT_EQ(options.transport, IBV_QPT_UD);
    EXPECT_EQ(options.sizes, (std::vector<std::uint64_t>{8, 1024}));
    EXPECT_EQ(options.qps, 16U);
    EXPECT_EQ(options.active, 2U);
    EXPECT_EQ(options.iterations, 100U);
    EXPECT_EQ(options.memory, verbs_util::MemoryKind::kMemfd);
    EXPECT_EQ(options.cpus, (std::vector<int>{0, 1}));
    EXPECT_TRUE(options.verify);
    EXPECT_TRUE(options.json);
    EXPECT_EQ(options.command_line.substr(0, 20), "vrdma-perf --pair -o");
}

TEST(ParseOptions, every_qp_is_active_by_default) {
    EXPECT_EQ(std::get<Options>(parse("--loopback", "-q", "7")).active, 7U);
}

TEST(ParseOptions, atomics_default_to_their_only_size) {
    EXPECT_EQ(std::get<Options>(parse("--loopback", "-o", "cmp-swap")).sizes,
              std::vector<std::uint64_t>{8});
}

TEST(ParseOptions, sweep_over_ud_stops_at_one_packet) {
    EXPECT_EQ(
        std::get<Options>(parse("--loopback", "-o", "send", "-t", "ud", "--all")).sizes.back(),
        4096U);
}

TEST(ParseOptions, sweep_goes_from_one_byte_to_eight_mebibytes) {
    const auto sizes = std::get<Options>(parse("--loopback", "--all")).sizes;
    EXPECT_EQ(sizes.front(), 1U);
    EXPECT_EQ(sizes.back(), 8U << 20);
    EXPECT_EQ(sizes.size(), 24U);
}

TEST(ParseOptions, usage_errors_have_exit_code_one) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(std::get<int>(parse()), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "--pair")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "--no-such-option")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "-o", "flush")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "-t", "xrc")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "--memory", "gpu")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "--measure", "all")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "-s", "8,x")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "--cpu", "a")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "--inline", "5000")), 1);
    EXPECT_EQ(std::get<int>(parse("--loopback", "-n", "1", "-d", "1")), 1);
    (void)testing::internal::GetCapturedStderr();
}

TEST(ParseOptions, help_has_exit_code_zero) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(std::get<int>(parse("--help")), 0);
    EXPECT_NE(testing::internal::GetCapturedStdout().find("Exit codes"), std::string::npos);
}

}  // namespace
}  // namespace vrdma::perf
