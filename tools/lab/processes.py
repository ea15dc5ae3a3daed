"""Starting programs so that none of them outlives us, whatever happens to us."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


_INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextlib.contextmanager
def uninterrupted():
    """Holds interruptions back, so that what was started is also remembered."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent():
    # Runs between fork and exec; for another user's process, after the user was changed.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTIONS)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def start(command, user=None, **options):
    """subprocess.Popen, ended when we end. `user` (root only) also takes that user's groups."""
    if user is not None:
        entry = pwd.getpwnam(user)
        options.update(user=entry.pw_uid, group=entry.pw_gid,
                       extra_groups=os.getgrouplist(user, entry.pw_gid))
        # The new user has no business in our directories.
        options.setdefault("cwd", "/")
        options.setdefault("env", environment_of(entry))
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(word) for word in command], preexec_fn=_die_with_parent,
                            **options)


def environment_of(entry):
    kept = {name: value for name, value in os.environ.items()
            if name in ("PATH", "LANG", "LC_ALL", "TERM")}
    return {**kept, "HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def end(process, grace=5.0):
    """Asks the process to end, then makes it. Returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
