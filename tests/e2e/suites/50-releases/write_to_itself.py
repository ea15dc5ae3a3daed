"""A pyverbs program: connects a queue pair of the first device to itself, writes and reads through it
and sleeps until the completions come. Prints `right` when every byte is where it belongs."""

import types

import pyverbs.device as d
try:
    import pyverbs.libibverbs_enums as enums
except ImportError:  # as Debian 12 has it
    import pyverbs.enums as enums
from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ, CompChannel
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, SendWR

# Newer ones keep the names inside their enumerations.
e = types.SimpleNamespace(**{name: value for name, value in vars(enums).items() if name[0] != "_"})
for scope in list(vars(e).values()):
    for name, value in getattr(scope, "__members__", {}).items():
        setattr(e, name, value)

SIZE = 100_000
GID = 3

device = d.get_device_list()[0]
context = d.Context(name=device.name.decode())
port = context.query_port(1)
assert port.state == e.IBV_PORT_ACTIVE, port.state
pd = PD(context)
channel = CompChannel(context)
cq = CQ(context, 16, None, channel, 0)
cq.req_notify()
cap = QPCap(max_send_wr=8, max_recv_wr=8, max_send_sge=1, max_recv_sge=1)
qp = QP(pd, QPInitAttr(qp_type=e.IBV_QPT_RC, scq=cq, rcq=cq, cap=cap, sq_sig_all=1))
address = AHAttr(port_num=1, is_global=1, gr=GlobalRoute(dgid=context.query_gid(1, GID), sgid_index=GID))
attributes = QPAttr(port_num=1)
attributes.dest_qp_num = qp.qp_num
attributes.ah_attr = address
attributes.path_mtu = e.IBV_MTU_1024
attributes.qp_access_flags = e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ
attributes.max_rd_atomic = attributes.max_dest_rd_atomic = 1
attributes.min_rnr_timer, attributes.timeout = 12, 14
attributes.retry_cnt = attributes.rnr_retry = 7
qp.to_rts(attributes)
everything = e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ
source, middle, target = (MR(pd, SIZE, everything) for _ in range(3))
pattern = bytes(index * 7 % 251 for index in range(SIZE))
source.write(pattern, SIZE)


def move(opcode, local, remote):
    request = SendWR(opcode=opcode, num_sge=1, sg=[SGE(local.buf, SIZE, local.lkey)])
    request.set_wr_rdma(remote.rkey, remote.buf)
    qp.post_send(request)
    channel.get_cq_event(cq)
    cq.ack_events(1)
    cq.req_notify()
    count, completions = cq.poll()
    assert count == 1 and completions[0].status == e.IBV_WC_SUCCESS, (count, str(completions[0]))


move(e.IBV_WR_RDMA_WRITE, source, middle)
move(e.IBV_WR_RDMA_READ, target, middle)
assert target.read(SIZE, 0) == pattern
print("right")
