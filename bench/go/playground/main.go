// SPDX-License-Identifier: MIT

// Command playground is the twin of examples/playground.cpp in Go: many goroutines that each yield
// or sleep again and again. Same job, same counting, same results, same JSON keys; gvthreads are
// goroutines and workers is GOMAXPROCS. Exit code 0: all done, 1: something is missing, 2: bad
// input. Standard library only; Go 1.19 or later.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// results has the keys of the C++ program's --json, in its order.
type results struct {
	Workers     uint64  `json:"workers"`
	Gvthreads   uint64  `json:"gvthreads"`
	Yields      uint64  `json:"yields"`
	SleepMs     uint64  `json:"sleep_ms"`
	Spawned     uint64  `json:"spawned"`
	Started     uint64  `json:"started"`
	Completed   uint64  `json:"completed"`
	TotalYields uint64  `json:"total_yields"`
	WallS       float64 `json:"wall_s"`
	CPUUserS    float64 `json:"cpu_user_s"`
	CPUSysS     float64 `json:"cpu_sys_s"`
	// Go does not count its switches; each yield and each sleep is one, so this is TotalYields.
	Switches  uint64 `json:"switches"`
	PeakRssKb int64  `json:"peak_rss_kb"`
	OK        bool   `json:"ok"`
}

// maxWorkers is the C++ program's own bound.
const maxWorkers = 56

// counter has a cache line for itself, as in the C++ program.
type counter struct {
	atomic.Uint64
	_ [56]byte
}

var started, completed, totalYields counter

func stormThread(yields uint64, sleep time.Duration, all *sync.WaitGroup) {
	defer all.Done()
	started.Add(1)
	for i := uint64(0); i < yields; i++ {
		if sleep > 0 {
			time.Sleep(sleep)
		} else {
			runtime.Gosched()
		}
	}
	totalYields.Add(yields)
	completed.Add(1)
}

// cpuTime is the process's own, user and system, in seconds.
func cpuTime() (user, sys float64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fmt.Fprintln(os.Stderr, "playground: getrusage:", err)
		os.Exit(1)
	}
	return float64(usage.Utime.Nano()) / 1e9, float64(usage.Stime.Nano()) / 1e9
}

// peakRssKb is the process's own peak. Getrusage's would include that of the program before exec.
func peakRssKb() int64 {
	if file, err := os.Open("/proc/self/status"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var kb int64
			if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d", &kb); n == 1 {
				return kb
			}
		}
	}
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Maxrss
}

func refuse(name string, value, min, max uint64) {
	if value < min || value > max {
		fmt.Fprintf(os.Stderr, "playground: flag -%s: '%d' is out of range; allowed: %d to %d\n",
			name, value, min, max)
		os.Exit(2)
	}
}

func (r *results) missing() string {
	var what []string
	expect := func(name string, got, wanted uint64) {
		if got < wanted {
			what = append(what, fmt.Sprintf("%d %s missing", wanted-got, name))
		} else if got > wanted {
			what = append(what, fmt.Sprintf("%d %s too many", got-wanted, name))
		}
	}
	expect("spawned", r.Spawned, r.Gvthreads)
	expect("started", r.Started, r.Gvthreads)
	expect("completed", r.Completed, r.Gvthreads)
	expect("yields", r.TotalYields, r.Gvthreads*r.Yields)
	return strings.Join(what, ", ")
}

func (r *results) print(missing string) {
	rate := 0.0
	if r.WallS > 0 {
		rate = float64(r.Switches) / r.WallS
	}
	fmt.Printf("spawned    %d\nstarted    %d\ncompleted  %d\n", r.Spawned, r.Started, r.Completed)
	fmt.Printf("yields     %d of %d\n", r.TotalYields, r.Gvthreads*r.Yields)
	fmt.Printf("wall       %.3f s\n", r.WallS)
	fmt.Printf("cpu        %.3f s (user %.3f, sys %.3f)\n", r.CPUUserS+r.CPUSysS, r.CPUUserS, r.CPUSysS)
	fmt.Printf("switches   %d (%.0f/s)\n", r.Switches, rate)
	fmt.Printf("peak rss   %d KiB\n", r.PeakRssKb)
	if missing == "" {
		fmt.Println("SUCCESS")
	} else {
		fmt.Println("FAILURE:", missing)
	}
}

func main() {
	r := results{}
	cpus := uint64(runtime.NumCPU())
	if cpus > maxWorkers {
		cpus = maxWorkers
	}
	flag.Uint64Var(&r.Workers, "workers", cpus, "GOMAXPROCS: 1 to 56")
	flag.Uint64Var(&r.Gvthreads, "goroutines", 1000, "goroutines to spawn: 1 to 16777215")
	flag.Uint64Var(&r.Yields, "yields", 100, "rounds of each goroutine: 0 to 4294967295")
	flag.Uint64Var(&r.SleepMs, "sleep", 10, "sleep of each round in ms, 0 for a yield: 0 to 3600000")
	asJSON := flag.Bool("json", false, "print the results as one JSON object")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "playground: unexpected argument %q; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	refuse("workers", r.Workers, 1, maxWorkers)
	refuse("goroutines", r.Gvthreads, 1, 1<<24-1)
	refuse("yields", r.Yields, 0, 1<<32-1)
	refuse("sleep", r.SleepMs, 0, 3600000)

	runtime.GOMAXPROCS(int(r.Workers))
	userBefore, sysBefore := cpuTime()
	begin := time.Now()
	// As in the C++ program: spawned from inside, by one of their kind.
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		sleep := time.Duration(r.SleepMs) * time.Millisecond
		for ; r.Spawned < r.Gvthreads; r.Spawned++ {
			all.Add(1)
			go stormThread(r.Yields, sleep, &all)
		}
	}()
	all.Wait()
	r.WallS = time.Since(begin).Seconds()
	user, sys := cpuTime()
	r.CPUUserS, r.CPUSysS = user-userBefore, sys-sysBefore
	r.Started, r.Completed, r.TotalYields = started.Load(), completed.Load(), totalYields.Load()
	r.Switches = r.TotalYields
	r.PeakRssKb = peakRssKb()
	missing := r.missing()
	r.OK = missing == ""

	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(&r); err != nil {
			fmt.Fprintln(os.Stderr, "playground:", err)
			os.Exit(1)
		}
	} else {
		r.print(missing)
	}
	if !r.OK {
		os.Exit(1)
	}
}
