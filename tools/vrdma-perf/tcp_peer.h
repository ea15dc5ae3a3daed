#pragma once

// What the same transfer costs over TCP on this machine.

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/tsc.h"
#include "tools/verbs_util/unique_fd.h"
#include "tools/vrdma-perf/histogram.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

class TcpPeer {
  public:
    /// Starts the answering thread, on `server_cpu` unless negative. `spinning`: both sides poll
    /// their socket, otherwise they sleep in the kernel.
    [[nodiscard]] static verbs_util::Result<std::unique_ptr<TcpPeer>> start(
        bool spinning, int server_cpu, const verbs_util::Tsc& tsc);

    ~TcpPeer();
    TcpPeer(const TcpPeer&) = delete;
    TcpPeer& operator=(const TcpPeer&) = delete;

    /// GETs of `bytes`: a request of 8 bytes out, the data back; records the whole of it.
    [[nodiscard]] verbs_util::Result<RunResult> measure(std::uint64_t bytes, const Budget& budget,
                                                        Histogram& histogram);

  private:
    TcpPeer(bool spinning, const verbs_util::Tsc& tsc) : spinning_(spinning), tsc_(tsc) {}

    bool spinning_;
    const verbs_util::Tsc& tsc_;
    verbs_util::UniqueFd socket_;
    std::vector<char> buffer_;
    std::thread server_;
};

}  // namespace vrdma::perf
