// Every finding that is not "ok" has a row here: one change of a healthy machine, with which
// exactly this finding is there.
#include "tools/vrdma-doctor/judge.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/tools_doctor/healthy.h"

namespace vrdma::doctor {
namespace {

struct Row {
    const char* id;
    Level level;
    std::function<void(Facts&)> change;
};

Device& device(Facts& facts) {
    return facts.devices.front();
}

void no_device(Facts& facts) {
    facts.devices.clear();
    facts.provider.loaded.clear();
    facts.memory = {};
    facts.peer.reset();
    facts.transfer = {};
}

std::function<void(Facts&)> setting(const char* name, const char* value) {
    return [=](Facts& facts) { facts.settings[name] = {.value = value, .where = "/etc/x.conf"}; };
}

Device real_device() {
    Device real;
    real.name = "mlx5_0";
    real.opened = true;
    return real;
}

const std::vector<Row>& rows() {
    static const std::vector<Row> all{
        {"tree-missing", Level::error,
         [](Facts& f) {
             no_device(f);
             f.view = {};
             f.view.tree = "/run/vrdma/vnic/a";
             f.view.preload_library = true;
         }},
        {"preload-missing", Level::error,
         [](Facts& f) {
             no_device(f);
             f.view = {};
             f.view.tree = "/run/vrdma/vnic/a";
             f.view.tree_exists = true;
         }},
        {"ib-core-answers", Level::error,
         [](Facts& f) {
             no_device(f);
             f.view.kernel_answers = true;
         }},
        {"node-missing", Level::error,
         [](Facts& f) {
             no_device(f);
             f.view.node = false;
         }},
        {"driver-not-configured", Level::error,
         [](Facts& f) {
             no_device(f);
             f.provider = {};
         }},
        {"provider-missing", Level::error,
         [](Facts& f) {
             no_device(f);
             f.provider.exists = false;
         }},
        {"only-real-devices", Level::error,
         [](Facts& f) {
             no_device(f);
             f.view = {};
             f.devices.push_back(real_device());
         }},
        {"no-device", Level::error,
         [](Facts& f) {
             no_device(f);
             f.view = {};
         }},
        {"service-gone", Level::error,
         [](Facts& f) {
             device(f).opened = false;
             device(f).socket_error = "Connection refused";
         }},
        {"device-not-opened", Level::error, [](Facts& f) { device(f).opened = false; }},
        {"version-differs", Level::note, [](Facts& f) { device(f).service_version = "1.1"; }},
        {"port-down", Level::error, [](Facts& f) { device(f).port_active = false; }},
        {"mtu-small", Level::note, [](Facts& f) { device(f).mtu = 1024; }},
        {"gid-none", Level::error, [](Facts& f) { device(f).gids.clear(); }},
        {"gid-type-unknown", Level::warning, [](Facts& f) { device(f).gids[0].type.clear(); }},
        {"gid-type-v1", Level::warning, [](Facts& f) { device(f).gids[0].type = "IB/RoCE v1"; }},
        {"gid-no-ipv4", Level::warning, [](Facts& f) { device(f).gids.pop_back(); }},
        {"real-devices", Level::warning,
         [](Facts& f) { f.devices.insert(f.devices.begin(), real_device()); }},
        {"several-devices", Level::note,
         [](Facts& f) {
             f.devices.push_back(device(f));
             f.devices.back().name = "vrdma1";
         }},
        {"memory-forced", Level::warning,
         [](Facts& f) {
             setting("VRDMA_MEMORY", "process")(f);
             f.memory.single.kind = f.memory.threaded.kind = f.memory.shared.kind = "process";
         }},
        {"memory-setting", Level::error,
         [](Facts& f) {
             setting("VRDMA_MEMORY", "fast")(f);
             f.memory.threaded.error = f.memory.shared.error = "Invalid argument";
         }},
        {"memory-refused", Level::error,
         [](Facts& f) { f.memory.shared.error = f.memory.threaded.error = "No memory"; }},
        {"memory-private-refused", Level::error,
         [](Facts& f) { f.memory.threaded.error = "Operation not supported"; }},
        {"memory-shared-slow", Level::warning, [](Facts& f) { f.memory.shared.kind = "process"; }},
        {"memory-private-slow", Level::warning,
         [](Facts& f) { f.memory.single.kind = f.memory.threaded.kind = "process"; }},
        {"memory-threads-slow", Level::warning,
         [](Facts& f) { f.memory.threaded.kind = "process"; }},
        {"file-size-limit", Level::warning, [](Facts& f) { f.limits.file_size = 1 << 20; }},
        {"memlock-low", Level::note, [](Facts& f) { f.limits.locked_memory = 8 << 20; }},
        {"yama-ptrace", Level::note, [](Facts& f) { f.limits.ptrace_scope = 1; }},
        {"seccomp-userfaultfd", Level::note,
         [](Facts& f) {
             f.limits.seccomp = true;
             f.limits.userfaultfd = false;
         }},
        {"nccl-ib-disabled", Level::error, setting("NCCL_IB_DISABLE", "1")},
        {"nccl-net", Level::error, setting("NCCL_NET", "Socket")},
        {"nccl-hca", Level::error, setting("NCCL_IB_HCA", "mlx5")},
        {"nccl-gid-index", Level::error, setting("NCCL_IB_GID_INDEX", "2")},
        {"nccl-settings-missing", Level::note, [](Facts& f) { f.settings.erase("NCCL_GIN_TYPE"); }},
        {"ucx-tls", Level::error, setting("UCX_TLS", "tcp,self")},
        {"ucx-net-devices", Level::error, setting("UCX_NET_DEVICES", "mlx5_0:1")},
        {"ucx-gid-index", Level::error, setting("UCX_IB_GID_INDEX", "7")},
        {"ompi-pml", Level::error, setting("OMPI_MCA_pml", "ob1")},
        {"ompi-btl", Level::warning, setting("OMPI_MCA_btl", "tcp,self")},
        {"gloo-transport", Level::warning, setting("GLOO_DEVICE_TRANSPORT", "TCP")},
        {"libfabric-provider", Level::error, setting("FI_PROVIDER", "tcp")},
        {"mooncake-tcp", Level::error, setting("MC_FORCE_TCP", "")},
        {"program-not-started", Level::error,
         [](Facts& f) { f.program->problem = "cannot find it"; }},
        {"program-setuid", Level::error, [](Facts& f) { f.program->gains_privileges = true; }},
        {"program-unreadable", Level::warning, [](Facts& f) { f.program->readable = false; }},
        {"program-unknown", Level::note, [](Facts& f) { f.program->elf = false; }},
        {"program-foreign", Level::error, [](Facts& f) { f.program->foreign = true; }},
        {"program-static", Level::error,
         [](Facts& f) {
             f.view.preload_library = true;
             f.program->interpreter.clear();
         }},
        {"program-static-verbs", Level::warning, [](Facts& f) { f.program->interpreter.clear(); }},
        {"program-musl", Level::error,
         [](Facts& f) { f.program->interpreter = "/lib/ld-musl-x86_64.so.1"; }},
        {"program-no-libibverbs", Level::note,
         [](Facts& f) { f.program->links_libibverbs = false; }},
        {"peer-not-met", Level::error,
         [](Facts& f) {
             f.peer->met = false;
             f.transfer = {};
         }},
        {"peer-no-doctor", Level::note,
         [](Facts& f) {
             f.peer->met = false;
             f.peer->probed = true;
             f.peer->reason = 49;
             f.transfer = {};
         }},
        {"peer-unreachable", Level::error,
         [](Facts& f) {
             f.peer->met = false;
             f.peer->probed = true;
             f.peer->reason = 48;
             f.transfer = {};
         }},
        {"peer-failed", Level::error,
         [](Facts& f) {
             f.peer->met = false;
             f.peer->probed = true;
             f.peer->reason = 50;
             f.transfer = {};
         }},
        {"transfer-failed", Level::error, [](Facts& f) { f.transfer.problem = "retry exceeded"; }},
    };
    return all;
}

Findings beyond_ok(const Facts& facts) {
    Findings left;
    for (Finding& finding : judge(facts)) {
        if (finding.level != Level::ok) {
            left.push_back(std::move(finding));
        }
    }
    return left;
}

class EachFinding : public testing::TestWithParam<Row> {};

TEST_P(EachFinding, fires_alone_with_a_remedy) {
    Facts facts = healthy();
    GetParam().change(facts);
    const Findings found = beyond_ok(facts);
    ASSERT_EQ(found.size(), 1u) << (found.empty() ? "" : found.back().id);
    EXPECT_EQ(found[0].id, GetParam().id);
    EXPECT_EQ(found[0].level, GetParam().level);
    EXPECT_FALSE(found[0].text.empty());
    EXPECT_FALSE(found[0].remedy.empty());
}

TEST_P(EachFinding, is_in_the_manual) {
    std::ifstream file(MANUAL);
    const std::string manual{std::istreambuf_iterator<char>(file), {}};
    EXPECT_NE(manual.find(std::string("\n.B ") + GetParam().id + "\n"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(judge, EachFinding, testing::ValuesIn(rows()), [](const auto& row) {
    std::string name = row.param.id;
    for (char& letter : name) {
        letter = letter == '-' ? '_' : letter;
    }
    return name;
});

TEST(judge, healthy_machine_has_nothing_but_ok) {
    EXPECT_TRUE(beyond_ok(healthy()).empty());
    std::set<std::string> ids;
    for (const Finding& finding : judge(healthy())) {
        EXPECT_TRUE(finding.remedy.empty()) << finding.id;
        ids.insert(finding.id);
    }
    EXPECT_EQ(ids,
              (std::set<std::string>{"libibverbs", "provider", "device", "port", "gids", "memory",
                                     "limits", "settings", "program", "peer", "transfer"}));
}

TEST(judge, settings_that_permit_the_device_are_fine) {
    for (const auto& [name, value] : {std::pair{"NCCL_IB_DISABLE", "0"},
                                      {"NCCL_NET", "IB"},
                                      {"NCCL_IB_HCA", "=vrdma0:1"},
                                      {"NCCL_IB_GID_INDEX", "3"},
                                      {"NCCL_IB_GID_INDEX", "-1"},
                                      {"UCX_TLS", "rc_v,self"},
                                      {"UCX_NET_DEVICES", "vrdma0:1"},
                                      {"UCX_IB_GID_INDEX", "auto"},
                                      {"OMPI_MCA_pml", "ucx"},
                                      {"OMPI_MCA_pml", "^ob1"},
                                      {"GLOO_DEVICE_TRANSPORT", "ibverbs"},
                                      {"FI_PROVIDER", "verbs;ofi_rxd"},
                                      {"FI_PROVIDER", "^tcp"},
                                      {"UCX_TLS", ""}}) {
        Facts facts = healthy();
        setting(name, value)(facts);
        EXPECT_TRUE(beyond_ok(facts).empty()) << name << "=" << value;
    }
}

TEST(judge, setting_of_a_file_names_the_file) {
    Facts facts = healthy();
    setting("UCX_TLS", "tcp")(facts);
    EXPECT_NE(beyond_ok(facts).at(0).text.find("/etc/x.conf"), std::string::npos);
}

TEST(judge, path_to_the_peer_is_explained) {
    for (const auto& [path, word] : {std::pair{Path::same_host, "same host"},
                                     {Path::vrdma_peer, "vRDMA peer"},
                                     {Path::standard_peer, "standard peer"}}) {
        Facts facts = healthy();
        facts.peer->path = path;
        Findings findings;
        judge_peer(facts, findings);
        EXPECT_NE(findings.at(0).text.find(word), std::string::npos);
    }
}

TEST(judge, without_program_and_peer_nothing_is_said_of_them) {
    Facts facts = healthy();
    facts.program.reset();
    facts.peer.reset();
    for (const Finding& finding : judge(facts)) {
        EXPECT_FALSE(finding.id.starts_with("program")) << finding.id;
        EXPECT_FALSE(finding.id.starts_with("peer")) << finding.id;
    }
}

}  // namespace
}  // namespace vrdma::doctor
