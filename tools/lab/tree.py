"""Where vRDMA's programs are: in a build tree, or in an installed one."""

import pathlib


class Tree:
    def __init__(self, vrdmad, bin_of):
        self.vrdmad = pathlib.Path(vrdmad)
        self.vrdma_run = bin_of("vrdma-run")
        self.vrdmactl = bin_of("vrdmactl")
        self.vrdma_perf = bin_of("vrdma-perf")
        self.vrdma_doctor = bin_of("vrdma-doctor")

    @staticmethod
    def built(build):
        build = pathlib.Path(build)
        return Tree(build / "dataplane/app/vrdmad", lambda name: build / "tools" / name / name)

    @staticmethod
    def installed(prefix):
        prefix = pathlib.Path(prefix)
        return Tree(prefix / "sbin/vrdmad", lambda name: prefix / "bin" / name)

    def missing(self):
        programs = (self.vrdmad, self.vrdma_run, self.vrdmactl, self.vrdma_perf)
        return [str(program) for program in programs if not program.exists()]
