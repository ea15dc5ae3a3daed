// Reading makes the file piece by piece: its beginning with the first piece, packets as they come,
// and the statistics when the workers have left the capture and the rings are empty, or when as
// many packets were read as were wanted.
//
// The packets of several workers are put into the order of their times as far as they are there. A
// worker that is slow to publish can still be late, which the format allows.
//
// What is missed is counted as of the last packet that was read, so that a capture that ended by
// its count does not complain about what came afterwards.
#include "dataplane/net/capture.h"

#include <array>

#include "dataplane/base/check.h"

namespace vrdma::net {

void Capture::add_worker(PacketPort& below, std::span<std::byte> memory,
                         const PacketSteering& steering) {
    const bool records_shared = workers_.size() == options_.settings.shared_on;
    workers_.push_back(std::make_unique<Worker>(below, options_.settings, memory,
                                                records_shared ? nullptr : &steering));
}

uint64_t Capture::missed() const {
    uint64_t missed = 0;
    for (const auto& worker : workers_) {
        missed += complete() ? worker->missed : worker->port.missed();
    }
    return missed;
}

Capture::Worker* Capture::earliest(CaptureRecord& record) {
    Worker* found = nullptr;
    for (const auto& worker : workers_) {
        CaptureRecord next;
        if (worker->ring.peek(next) && (found == nullptr || next.at < record.at)) {
            found = worker.get();
            record = next;
        }
    }
    return found;
}

size_t Capture::read(std::span<std::byte> out) {
    VR_CHECK(out.size() >= kLeastRead);
    size_t at = 0;
    if (!begun_) {
        begun_ = true;
        at += wire::write_pcapng_section(out, options_.application);
        at += wire::write_pcapng_interface(out.subspan(at), options_.interface,
                                           options_.settings.snap_length);
    }
    CaptureRecord record;
    Worker* worker = nullptr;
    while (!over_ && !complete() && (worker = earliest(record)) != nullptr) {
        std::array<std::byte, kMaxFrameBytes> bytes;
        VR_CHECK(record.captured <= bytes.size());
        const auto kept = std::span(bytes).first(record.captured);
        const wire::CapturedPacket packet{.at = wall(record.at),
                                          .bytes = kept,
                                          .original_length = record.original,
                                          .direction = record.direction,
                                          .missed = record.missed - worker->missed};
        if (out.size() - at < wire::pcapng_packet_bytes(packet)) {
            return at;
        }
        worker->ring.take(kept);
        at += wire::write_pcapng_packet(out.subspan(at), packet);
        worker->missed = record.missed;
        ++captured_;
    }
    if (over_ || (!stopped_ && !complete()) || out.size() - at < wire::pcapng_statistics_bytes()) {
        return at;
    }
    over_ = true;
    return at +
           wire::write_pcapng_statistics(out.subspan(at), {.at = wall(options_.settings.clock()),
                                                           .received = captured_ + missed(),
                                                           .missed = missed()});
}

}  // namespace vrdma::net
