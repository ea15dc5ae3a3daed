// Judges the settings with which a program quietly takes TCP instead of the device. What forbids
// the device is an error although the program may not use that library: nobody sets such a variable
// by chance, and its effect is exactly what the doctor is asked about.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

#include "tools/vrdma-doctor/judge.h"
#include "tools/vrdma-doctor/selection.h"

namespace vrdma::doctor {
namespace {

class Judge {
  public:
    Judge(const Facts& facts, const Device& device, Findings& findings)
        : facts_(facts), device_(device), findings_(findings) {}

    void nccl();
    void ucx();
    void open_mpi();
    void others();

  private:
    [[nodiscard]] const Setting* find(const char* name) const {
        const auto found = facts_.settings.find(name);
        return found == facts_.settings.end() || found->second.value.empty() ? nullptr
                                                                             : &found->second;
    }
    // Says NAME=VALUE (where), and the consequence.
    void say(const char* id, Level level, const char* name, const std::string& consequence,
             const std::string& remedy) {
        const Setting& setting = facts_.settings.at(name);
        findings_.push_back(
            {id, level,
             fmt::format("{}={} in {}: {}", name, setting.value, setting.where, consequence),
             remedy});
    }
    void gid_index(const char* id, const char* name);
    void nccl_missing();

    const Facts& facts_;
    const Device& device_;
    Findings& findings_;
};

bool same_word(const std::string& text, std::string_view word) {
    return text.size() == word.size() &&
           std::equal(text.begin(), text.end(), word.begin(), [](char a, char b) {
               return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
           });
}

void Judge::gid_index(const char* id, const char* name) {
    const Setting* setting = find(name);
    if (setting == nullptr) {
        return;
    }
    std::uint32_t index = 0;
    const std::string& value = setting->value;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), index);
    if (read.ec != std::errc{} || read.ptr != value.data() + value.size()) {
        return;  // "auto", -1: the library chooses
    }
    for (const Gid& gid : device_.gids) {
        if (gid.index == index) {
            return;
        }
    }
    say(id, Level::error, name, device_.name + " has no GID there, so connections fail",
        std::string("unset ") + name + ", or give the index of a GID above");
}

void Judge::nccl_missing() {
    std::string missing;
    for (const char* name :
         {"NCCL_IB_HCA", "NCCL_GIN_TYPE", "NCCL_NET_GDR_LEVEL", "NCCL_IB_MERGE_NICS"}) {
        if (!facts_.settings.contains(name)) {
            missing += (missing.empty() ? "" : ", ") + std::string(name);
        }
    }
    if (!missing.empty()) {
        findings_.push_back({"nccl-settings-missing", Level::note,
                             "NCCL is not told about vRDMA devices: " + missing +
                                 " not set. "
                                 "Some versions crash without",
                             "vrdma-run sets them; else copy share/vrdma/nccl.conf to "
                             "/etc/nccl.conf"});
    }
}

void Judge::nccl() {
    const Setting* disable = find("NCCL_IB_DISABLE");
    const Setting* net = find("NCCL_NET");
    const Setting* hca = find("NCCL_IB_HCA");
    if (disable != nullptr && disable->value != "0") {
        say("nccl-ib-disabled", Level::error, "NCCL_IB_DISABLE", "NCCL uses TCP",
            "unset NCCL_IB_DISABLE");
    } else if (net != nullptr && !same_word(net->value, "ib")) {
        say("nccl-net", Level::error, "NCCL_NET",
            same_word(net->value, "socket") ? "NCCL uses TCP"
                                            : "NCCL uses a plugin instead of its verbs transport",
            "unset NCCL_NET, or NCCL_NET=IB, which also fails rather than take TCP");
    } else if (hca != nullptr && !nccl_takes_device(hca->value, device_.name)) {
        say("nccl-hca", Level::error, "NCCL_IB_HCA", "NCCL skips " + device_.name + " and uses TCP",
            "NCCL_IB_HCA=vrdma");
    }
    gid_index("nccl-gid-index", "NCCL_IB_GID_INDEX");
    nccl_missing();
}

void Judge::ucx() {
    const Setting* transports = find("UCX_TLS");
    const Setting* devices = find("UCX_NET_DEVICES");
    if (transports != nullptr && !ucx_takes_verbs(transports->value)) {
        say("ucx-tls", Level::error, "UCX_TLS",
            "neither rc_verbs nor ud_verbs is among it, so UCX (NIXL, Open MPI) does not use the "
            "device",
            "unset UCX_TLS, or UCX_TLS=rc_v,self");
    } else if (devices != nullptr && !ucx_takes_device(devices->value, device_.name)) {
        say("ucx-net-devices", Level::error, "UCX_NET_DEVICES", "UCX skips " + device_.name,
            "UCX_NET_DEVICES=" + device_.name + ":1");
    }
    gid_index("ucx-gid-index", "UCX_IB_GID_INDEX");
}

void Judge::open_mpi() {
    const Setting* pml = find("OMPI_MCA_pml");
    if (pml != nullptr) {
        const std::vector<std::string> words =
            split(std::string_view(pml->value).substr(pml->value.starts_with('^') ? 1 : 0));
        const bool named = std::find(words.begin(), words.end(), "ucx") != words.end();
        if (named == pml->value.starts_with('^')) {
            say("ompi-pml", Level::error, "OMPI_MCA_pml",
                "Open MPI's messages do not go over UCX, and so not over the device",
                "OMPI_MCA_pml=ucx");
        }
        return;
    }
    const Setting* btl = find("OMPI_MCA_btl");
    if (btl != nullptr) {
        say("ompi-btl", Level::warning, "OMPI_MCA_btl",
            "without OMPI_MCA_pml=ucx, Open MPI may use these, none of which uses the device",
            "OMPI_MCA_pml=ucx and OMPI_MCA_btl=self");
    }
}

void Judge::others() {
    const Setting* gloo = find("GLOO_DEVICE_TRANSPORT");
    if (gloo != nullptr && !same_word(gloo->value, "ibverbs")) {
        say("gloo-transport", Level::warning, "GLOO_DEVICE_TRANSPORT", "gloo uses TCP",
            "GLOO_DEVICE_TRANSPORT=IBVERBS, or create its device in the program");
    }
    const Setting* libfabric = find("FI_PROVIDER");
    if (libfabric != nullptr) {
        const bool others = libfabric->value.starts_with('^');
        const bool named = libfabric->value.find("verbs") != std::string::npos;
        if (named == others) {
            say("libfabric-provider", Level::error, "FI_PROVIDER",
                "libfabric does not use the device", "FI_PROVIDER=\"verbs;ofi_rxd\"");
        }
    }
    if (facts_.settings.contains("MC_FORCE_TCP")) {  // an empty one counts as well
        say("mooncake-tcp", Level::error, "MC_FORCE_TCP", "Mooncake uses TCP",
            "unset MC_FORCE_TCP");
    }
}

}  // namespace

void judge_settings(const Facts& facts, Findings& findings) {
    const Device* device = facts.ours();
    if (device == nullptr) {
        return;
    }
    const std::size_t before = findings.size();
    Judge judge(facts, *device, findings);
    judge.nccl();
    judge.ucx();
    judge.open_mpi();
    judge.others();
    if (findings.size() == before) {
        findings.push_back({"settings", Level::ok,
                            "no setting of NCCL, UCX, Open MPI, gloo, libfabric or Mooncake keeps "
                            "them from " +
                                device->name,
                            ""});
    }
}

}  // namespace vrdma::doctor
