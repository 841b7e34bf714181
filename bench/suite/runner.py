# SPDX-License-Identifier: MIT
#
# runner.py - builds the programs of bench/ and runs them alternately; what they print goes to a
# Collector. Peers that are not installed are left out, and said so.
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from suite import cases

PACKAGES = ("cmake", "g++", "ninja-build", "libboost-fiber-dev", "libst-dev")  # as in ci/packages


def say(text):
    print(text, file=sys.stderr, flush=True)


def install(root):
    """What is missing, through ci/lib.sh; without that file only a look at what is there."""
    if os.path.exists(os.path.join(root, "ci/lib.sh")):
        script = "source ci/lib.sh && install_packages build bench && (install_go || true)"
        subprocess.run(["bash", "-c", script, "bench"], cwd=root, check=True)
        return
    if shutil.which("dpkg-query"):
        status = ["dpkg-query", "-W", "-f", "${db:Status-Status}"]
        missing = [p for p in PACKAGES
                   if subprocess.run(status + [p], capture_output=True, text=True,
                                     check=False).stdout != "installed"]
        if missing:
            say("not installed: " + " ".join(missing))


def build(root, directory):
    """True if all that can be built was."""
    def quietly(command, **options):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, **options)
        if done.returncode != 0:
            say(done.stdout)
        return done.returncode == 0

    configure = ["cmake", "-S", root, "-B", directory, "-G", "Ninja", "-DCMAKE_CXX_COMPILER=g++",
                 "-DCMAKE_BUILD_TYPE=Release", "-DGVT_BENCH=ON", "-DGVT_TESTS=OFF",
                 "-DGVT_EXAMPLES=OFF"]
    if not quietly(configure) or not quietly(["cmake", "--build", directory]):
        return False
    if shutil.which("go"):
        # CGO_ENABLED: nothing here is C. GOFLAGS: the module has no dependencies to fetch.
        quietly(["go", "build", "-o", os.path.join(directory, "go_bench"), "./bench"],
                cwd=os.path.join(root, "bench/go"),
                env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": ""})
    return True


# ---- what to run ----

class Job:
    """One case on one runtime, to be run several times."""

    def __init__(self, case, runtime, workers, quick):
        self.case, self.runtime, self.workers = case, runtime, workers
        self.flags = dict(case.flags(quick))
        if runtime.name in ("gvthread", "floor") and "ops" in self.flags:
            self.flags["ops"] *= case.fast
        # For a failure, which has no figures to tell: as the programs themselves would say.
        ops = self.flags.get("ops", 0)
        implied = {"spawn": ops, "skynet": (10 * ops - 1) // 9, "switch": 2, "pingpong": 2,
                   "futex": 2}
        self.threads = self.flags.get("threads", implied.get(case.workload, 1))
        self.seconds = 1.0 if quick else case.seconds

    def command(self, directory):
        flags = {"workload": self.case.workload, "workers": self.workers} | self.flags
        return [os.path.join(directory, self.runtime.program), "--json", *self.runtime.arguments,
                *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]

    def text(self):
        return (f"{self.case.workload}, {self.threads} threads, {self.workers} "
                f"worker{'s' if self.workers > 1 else ''}, {self.runtime.name}")

    def needs_bytes(self):
        alive = self.threads if self.case.workload in (
            "yield", "spawn", "million", "skynet", "storm", "idle") else 0
        if self.runtime.name == "gvthread" and self.case.workload in ("spawn", "skynet"):
            return alive * 256  # a stack only for what runs
        return alive * self.runtime.bytes_per_thread


def plan(quick, only, runtimes, workers=(1, 2)):
    """A list of lists: the jobs of one case, to be run alternately. What is measured against
    another workload's floor brings that floor along."""
    groups = []
    floors = {floor for (w, _), (floor, _) in cases.FLOOR_OF.items() if w in only}
    for case in cases.CASES:
        asked = not only or case.workload in only
        if case.flags(quick) is None or not (asked or case.workload in floors):
            continue
        for w in sorted(set(case.workers) & set(workers)):
            jobs = []
            for name in runtimes if asked else [n for n in runtimes if n == "floor"]:
                r = cases.RUNTIMES[name]
                has = (case.workload in r.only if r.only else case.workload not in r.without)
                if case.runtimes and name not in case.runtimes:
                    continue
                allowed = case.floor_workers if name == "floor" else range(r.min_workers,
                                                                           r.max_workers + 1)
                if has and w in allowed:
                    jobs.append(Job(case, r, w, quick))
            if jobs:
                groups.append(jobs)
    return groups


# ---- running ----

class Progress:
    """In place on a terminal, else one line for each finished run."""

    def __init__(self, total_s, total_runs):
        self.left_s, self.total, self.done = total_s, total_runs, 0
        self.terminal = sys.stderr.isatty()

    def show(self, text):
        left = f"{self.left_s / 60:.0f} min" if self.left_s > 90 else f"{self.left_s:.0f} s"
        line = f"[{self.done}/{self.total}] {text}; about {left} left"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + line[:width].ljust(width), end="", file=sys.stderr, flush=True)
        else:
            say(line)

    def clear(self):
        if self.terminal:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", end="",
                  file=sys.stderr, flush=True)


def available_bytes():
    try:
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            for line in meminfo:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def run_once(job, directory, timeout_s):
    """(figures, None) or ([], what went wrong)."""
    needed, available = job.needs_bytes(), available_bytes()
    if available is not None and needed > available:
        return [], (f"not run: needs about {needed / 1e9:.1f} GB of memory, "
                    f"{available / 1e9:.1f} GB are available")
    try:
        done = subprocess.run(job.command(directory), capture_output=True, text=True, check=False,
                              timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return [], f"no end after {timeout_s:.0f} s"
    except OSError as error:
        return [], str(error)
    last = (done.stderr.strip().splitlines() or [""])[0 if job.runtime.name == "go" else -1]
    if done.returncode < 0:
        return [], f"killed by {signal.Signals(-done.returncode).name} {last}".strip()
    if done.returncode != 0:
        return [], last or f"exit code {done.returncode}"
    try:
        figures = [json.loads(line) for line in done.stdout.splitlines()]
        if not figures or any(not isinstance(f["value"], (int, float)) for f in figures):
            return [], "printed no figures"
    except (ValueError, KeyError, TypeError) as error:
        return [], f"printed something else than figures: {error}"
    for f in figures:  # two schedulers of one program, say: the name is ours
        f["runtime"] = job.runtime.name
    return figures, None


def run_all(groups, runs, directory, collector, timeout_s):
    """Each case: A B C A B C ..., so that a slow spell of the machine hits all alike."""
    def runs_of(job):
        return min(runs, job.case.max_runs)

    jobs = [job for group in groups for job in group]
    progress = Progress(sum(job.seconds * runs_of(job) for job in jobs),
                        sum(runs_of(job) for job in jobs))
    try:
        for group in groups:
            for i in range(runs_of(group[0])):
                for job in group:
                    label = f"{job.text()}, run {i + 1} of {runs_of(job)}"
                    if progress.terminal:
                        progress.show(label)
                    begin = time.monotonic()
                    figures, error = run_once(job, directory, timeout_s)
                    took = time.monotonic() - begin
                    # This job's further runs will take as long as this one did.
                    rest = runs_of(job) - i - 1
                    progress.left_s += (took - job.seconds) * rest - job.seconds
                    progress.left_s = max(progress.left_s, 0)
                    job.seconds = took
                    progress.done += 1
                    for f in figures:
                        collector.add(f)
                    if error is not None:
                        collector.add_failure(job.case.workload, job.runtime.name, job.workers,
                                              job.threads, error)
                        label += f": FAILED: {error}"
                        if progress.terminal:
                            progress.clear()
                            say(label)
                    if not progress.terminal:
                        progress.show(f"{label}, {took:.1f} s")
    finally:
        progress.clear()
