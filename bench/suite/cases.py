# SPDX-License-Identifier: MIT
#
# cases.py - what ci/bench runs: the runtimes, the cases with their sizes, what each metric means,
# which floor bounds what, and the bars that the project has set itself. Data only.
from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    name: str
    title: str
    program: str
    colour: str
    arguments: tuple = ()
    min_workers: int = 1
    max_workers: int = 56
    only: tuple = ()  # workloads; empty: all that are not in `without`
    without: tuple = ()
    bytes_per_thread: int = 0  # about, of a thread that has run; for what would not fit in memory


FLOOR_ONLY = ("cmpxchg", "futex", "page-touch")

RUNTIMES = {r.name: r for r in (
    Runtime("gvthread", "gvthread", "bench/gvthread_bench", "#0b63b0",
            without=("mutex",) + FLOOR_ONLY, bytes_per_thread=4700),
    Runtime("go", "Go", "go_bench", "#e69f00",
            without=("switch",) + FLOOR_ONLY, bytes_per_thread=2800),
    Runtime("boost", "Boost.Fiber", "bench/boost_bench", "#00916a",
            without=FLOOR_ONLY, bytes_per_thread=10000),
    Runtime("boost-shared", "Boost.Fiber, shared_work", "bench/boost_bench", "#7cc9b0",
            arguments=("--scheduler", "shared"), min_workers=2,
            only=("yield", "storm", "lateness"), bytes_per_thread=10000),
    Runtime("st", "State Threads", "bench/st_bench", "#c0609b",
            max_workers=1, without=("switch",) + FLOOR_ONLY, bytes_per_thread=4700),
    Runtime("floor", "the machine's floor", "bench/floor_bench", "#8a8f98",
            only=("switch", "yield", "million", "lateness") + FLOOR_ONLY, bytes_per_thread=4400),
)}


@dataclass(frozen=True)
class Case:
    workload: str
    full: dict  # flags without their dashes; None: not in this mode
    quick: dict
    workers: tuple = (1, 2)
    fast: int = 1  # so many times more operations for gvthread and the floor: figures are per op
    seconds: float = 1.0  # of one full run, about: only for the first guess of the time left
    max_runs: int = 99
    runtimes: tuple = ()  # empty: all
    floor_workers: tuple = (1,)

    def flags(self, quick):
        return self.quick if quick else self.full


M = 1_000_000
CASES = (
    Case("switch", {"ops": 100 * M}, {"ops": 10 * M}, workers=(1,)),
    Case("yield", {"threads": 2, "ops": 10 * M}, {"threads": 2, "ops": M}, fast=4),
    Case("yield", {"threads": 1000, "ops": 10 * M}, {"threads": 1000, "ops": M}, fast=4),
    Case("yield", {"threads": 20_000, "ops": 4 * M}, {"threads": 20_000, "ops": M}, fast=4,
         seconds=2),
    Case("yield", {"threads": M, "ops": 10 * M}, None, seconds=15, max_runs=3),
    Case("spawn", {"ops": M}, {"ops": 50_000}, seconds=5),
    Case("spawn-waves", {"threads": 1000, "ops": 2 * M}, {"threads": 1000, "ops": 200_000}, fast=4),
    Case("spawn-join", {"ops": M}, {"ops": 100_000}, fast=4),
    Case("pingpong", {"ops": 2 * M}, {"ops": 100_000}, fast=4),
    Case("storm", {"threads": 20_000, "ops": M, "sleep-ms": 100},
         {"threads": 2000, "ops": 10_000, "sleep-ms": 20}, seconds=5.5),
    Case("idle", {"threads": 20_000, "seconds": 10}, {"threads": 20_000, "seconds": 1},
         seconds=11.5, max_runs=3),
    Case("million", {"threads": M}, {"threads": 20_000}, seconds=12, max_runs=3),
    Case("skynet", {"ops": M}, {"ops": 10_000}, seconds=5),
    Case("lateness", {"threads": 1000, "ops": 100_000}, {"threads": 1000, "ops": 10_000},
         seconds=3.5),
    Case("lateness", {"threads": 1, "ops": 200}, {"threads": 1, "ops": 40}, seconds=6,
         runtimes=("gvthread", "go", "boost", "st", "floor"), workers=(1,)),
    Case("steal", {"threads": 1000, "ops": 500_000}, {"threads": 1000, "ops": 50_000}),
    Case("mutex", {"threads": 64, "ops": 5 * M}, {"threads": 64, "ops": 500_000}),
    Case("cmpxchg", {"ops": 100 * M}, {"ops": 10 * M}, workers=(1,)),
    Case("futex", {"ops": 10_000}, {"ops": 1000}, floor_workers=(1, 2)),
    Case("page-touch", {"ops": 65_536}, {"ops": 65_536}, workers=(1,)),
)

# What a workload is, in one line of a table or under the title of a plot.
TITLES = {
    "switch": "raw context switch, one way",
    "yield": "yield among ready threads",
    "spawn": "spawn and finish, all alive at once",
    "spawn-waves": "spawn and finish, in waves of 1 000",
    "spawn-join": "spawn one, join it",
    "pingpong": "two threads wake each other, round trip",
    "storm": "many threads that sleep again and again",
    "idle": "nothing to do but to sleep",
    "million": "parked threads, each with its own stack",
    "skynet": "a tree of threads, fan-out 10",
    "lateness": "how long after its deadline a sleeper goes on",
    "steal": "one producer of 1 us tasks, idle thieves",
    "mutex": "threads that contend for one mutex",
    "cmpxchg": "uncontended lock cmpxchg",
    "futex": "futex round trip; 1: on one core, 2: across cores",
    "page-touch": "first touch of a page",
}

# Metrics that say how a run went rather than how well: no ratios, no regressions.
CONDITIONS = ("cpus", "os-sleeps", "worker-sleeps", "worker-wakeups", "steals", "work")
# The curve of the lateness plot; only some of it is in the tables.
QUANTILES = (("p10", .1), ("p25", .25), ("p50", .5), ("p75", .75), ("p90", .9), ("p99", .99),
             ("p99.9", .999))
HIDDEN = ("p10", "p25", "p75", "p90", "max", "rss", "page-tables", "cpu-time")

# (workload, threads) -> those of the floor that bound it, where they are not its own: between two
# threads nothing can be quicker than the bare switch.
FLOOR_OF = {("yield", 2): ("switch", 2), ("pingpong", 2): ("switch", 2)}


@dataclass(frozen=True)
class Bar:
    """left <= factor x right, or left <= factor where there is no right. Sides are keys of results:
    (workload, runtime, workers, threads, metric)."""
    text: str
    left: tuple
    factor: float
    right: tuple = None


def _bars():
    def of(workers):
        return f"{workers} worker" + ("s" if workers > 1 else "")

    bare = ("switch", "floor", 1, 2, "time")
    bars = [
        Bar("switch: at most 1.2 x the bare switch",
            ("switch", "gvthread", 1, 2, "time"), 1.2, bare),
        Bar("yield, 1 worker, 2 threads: at most 2.5 x the bare switch",
            ("yield", "gvthread", 1, 2, "time"), 2.5, bare),
        Bar("yield, 1 worker, 2 threads: at most 1/6 of Go",
            ("yield", "gvthread", 1, 2, "time"), 1 / 6, ("yield", "go", 1, 2, "time")),
    ]
    for threads, ring, go in ((1000, 1.5, None), (20_000, 1.6, 20)):
        mine = ("yield", "gvthread", 1, threads, "time")
        bars.append(Bar(f"yield, 1 worker, {threads} threads: at most {ring} x a bare ring", mine,
                        ring, ("yield", "floor", 1, threads, "time")))
        if go:
            bars.append(Bar(f"yield, 1 worker, {threads} threads: at most 1/{go} of Go", mine,
                            1 / go, ("yield", "go", 1, threads, "time")))
    bars.append(Bar("yield, 2 workers, 1000 threads: 1.8 x the throughput of 1 worker",
                    ("yield", "gvthread", 2, 1000, "time"), 1 / 1.8,
                    ("yield", "gvthread", 1, 1000, "time")))
    for w in (1, 2):
        bars += [
            Bar(f"spawn in waves, {of(w)}: at most 1/8 of Go",
                ("spawn-waves", "gvthread", w, 1000, "time"), 1 / 8,
                ("spawn-waves", "go", w, 1000, "time")),
            Bar(f"spawn 1 M at once, {of(w)}: at most 1/10 of Go",
                ("spawn", "gvthread", w, M, "time"), 1 / 10, ("spawn", "go", w, M, "time")),
            Bar(f"spawn 1 M at once, {of(w)}: peak RSS at most 300 MB",
                ("spawn", "gvthread", w, M, "peak-rss"), 300),
        ]
    bars += [
        Bar("spawn in waves: 2 workers no worse than 1",
            ("spawn-waves", "gvthread", 2, 1000, "time"), 1,
            ("spawn-waves", "gvthread", 1, 1000, "time")),
        Bar("pingpong, 1 worker: at most 12 x the bare switch",
            ("pingpong", "gvthread", 1, 2, "time"), 12, bare),
        Bar("pingpong, 1 worker: at most 1/6 of Go's channels",
            ("pingpong", "gvthread", 1, 2, "time"), 1 / 6, ("pingpong", "go", 1, 2, "time")),
        Bar("pingpong, 2 workers: at most 1.2 x 1 worker", ("pingpong", "gvthread", 2, 2, "time"),
            1.2, ("pingpong", "gvthread", 1, 2, "time")),
    ]
    storm = ("storm", "gvthread", 2, 20_000)
    for factor, peer in ((.4, "go"), (.8, "boost"), (.8, "boost-shared")):
        bars.append(Bar(f"storm, 2 workers: CPU at most {factor} x {RUNTIMES[peer].title}",
                        storm + ("cpu",), factor, ("storm", peer, 2, 20_000, "cpu")))
    bars.append(Bar("storm, 2 workers: wall at most 5.11 s", storm + ("wall",), 5.11))
    for w in (1, 2):
        bars += [
            Bar(f"idle, {of(w)}: no wake-up", ("idle", "gvthread", w, 20_000, "os-wakeups"), 0),
            # What the two clock reads of the observer themselves add.
            Bar(f"idle, {of(w)}: no CPU (0.01 ms)",
                ("idle", "gvthread", w, 20_000, "cpu"), .01),
            Bar(f"million, {of(w)}: at most 4.5 KiB each",
                ("million", "gvthread", w, M, "memory"), 4608),
            Bar(f"million, {of(w)}: at most 1.15 x touching as many pages",
                ("million", "gvthread", w, M, "wall"), 1.15, ("million", "floor", 1, M, "wall")),
        ]
    skynet = ("skynet", "gvthread", 2, 1_111_111)
    bars += [
        Bar("skynet, 2 workers: at most 1/4 of Go", skynet + ("wall",), 1 / 4,
            ("skynet", "go", 2, 1_111_111, "wall")),
        Bar("skynet, 2 workers: peak RSS at most 40 MB", skynet + ("peak-rss",), 40),
    ]
    for w in (1, 2):
        mine = ("lateness", "gvthread", w, 1000)
        bars += [Bar(f"lateness, {of(w)}: {q} at most 1.15 x a bare timer wait", mine + (q,),
                     1.15, ("lateness", "floor", 1, 1000, q)) for q in ("p50", "p99")]
        bars += [
            Bar(f"lateness, {of(w)}: p50 at most 0.3 x Go's", mine + ("p50",), .3,
                ("lateness", "go", w, 1000, "p50")),
            Bar(f"lateness, {of(w)}: never early", mine + ("early",), 0),
        ]
    return tuple(bars)


BARS = _bars()
