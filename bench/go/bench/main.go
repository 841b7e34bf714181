// SPDX-License-Identifier: MIT

// Command bench runs the workloads of bench/workloads.hpp on goroutines: same flags, same clocks,
// same lines of JSON; workers is GOMAXPROCS. What has no counterpart in Go takes its idiom: a
// WaitGroup for a latch, an unbuffered channel for ping-pong, for a join and for the tree. Exit
// code 0: done; 1: the run failed; 2: bad flags. Standard library only; Go 1.19 or later.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

type options struct {
	workload                                string
	workers, threads, ops, sleepMs, seconds uint64
	json                                    bool
}

var o options

func defaultTo(threads, ops uint64) {
	if o.threads == 0 {
		o.threads = threads
	}
	if o.ops == 0 {
		o.ops = ops
	}
}

// rounds is what each thread does of o.ops in all; at least one.
func rounds() uint64 {
	if o.threads == 0 || o.ops < o.threads {
		return 1
	}
	return o.ops / o.threads
}

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, "failed: "+format+"\n", arguments...)
	os.Exit(1)
}

// Clock numbers of clock_gettime(2).
const (
	clockProcessCPU = 2
	clockThreadCPU  = 3
)

func clockNs(id uintptr) int64 {
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		fail("clock_gettime: %v", errno)
	}
	return t.Nano()
}

// statusNumber is a number of a status file in /proc, such as "VmRSS:" in bytes.
func statusNumber(path, key string) int64 {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		text := lines.Text()
		if !strings.HasPrefix(text, key) {
			continue
		}
		var value int64
		fmt.Sscan(text[len(key):], &value)
		if strings.HasSuffix(text, " kB") {
			value *= 1024
		}
		return value
	}
	return 0
}

func selfBytes(key string) float64 { return float64(statusNumber("/proc/self/status", key)) }

// otherTasksSwitches is how often all OS threads but the caller's went to sleep.
func otherTasksSwitches() int64 {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fail("%v", err)
	}
	self := fmt.Sprint(syscall.Gettid())
	var sum int64
	for _, task := range tasks {
		if task.Name() != self {
			sum += statusNumber("/proc/self/task/"+task.Name()+"/status", "voluntary_ctxt_switches:")
		}
	}
	return sum
}

// meter takes wall time, CPU time and sleeps of OS threads between start and stop.
type meter struct {
	begin, end sample
}

type sample struct {
	wall   time.Time
	cpuNs  int64
	sleeps int64
}

func now() sample {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return sample{time.Now(), clockNs(clockProcessCPU), usage.Nvcsw}
}

func (m *meter) start() { m.begin = now() }
func (m *meter) stop()  { m.end = now() }

func (m *meter) wallNs() float64 { return float64(m.end.wall.Sub(m.begin.wall)) }
func (m *meter) cpuNs() float64  { return float64(m.end.cpuNs - m.begin.cpuNs) }

func line(metric, unit string, value float64) {
	if o.json {
		fmt.Printf("{\"workload\":%q,\"runtime\":\"go\",\"workers\":%d,\"threads\":%d,"+
			"\"metric\":%q,\"unit\":%q,\"value\":%.9g}\n",
			o.workload, o.workers, o.threads, metric, unit, value)
	} else {
		fmt.Printf("%-12s %-10s %2dw %8d %-20s %14.6g %s\n",
			o.workload, "go", o.workers, o.threads, metric, value, unit)
	}
}

func perOp(m *meter, ops uint64) {
	line("time", "ns", m.wallNs()/float64(ops))
	line("cpu-time", "ns", m.cpuNs()/float64(ops))
	conditions(m, ops)
}

func conditions(m *meter, ops uint64) {
	line("cpus", "cpu s/s", m.cpuNs()/m.wallNs())
	line("os-sleeps", "per 1000 ops", float64(m.end.sleeps-m.begin.sleeps)*1000/float64(ops))
}

func latenessLines(lateNs []int64) {
	sort.Slice(lateNs, func(i, j int) bool { return lateNs[i] < lateNs[j] })
	for _, q := range []struct {
		name  string
		share float64
	}{{"p10", .1}, {"p25", .25}, {"p50", .5}, {"p75", .75}, {"p90", .9}, {"p99", .99}, {"p99.9", .999}, {"max", 1}} {
		line(q.name, "us", float64(lateNs[int(q.share*float64(len(lateNs)-1))])/1000)
	}
	early := sort.Search(len(lateNs), func(i int) bool { return lateNs[i] >= 0 })
	line("early", "wakes", float64(early))
}

func main() {
	flag.StringVar(&o.workload, "workload", "", "one of: "+strings.Join(names(), " "))
	flag.Uint64Var(&o.workers, "workers", 1, "GOMAXPROCS: 1 to 56")
	flag.Uint64Var(&o.threads, "threads", 0, "goroutines; 0: the workload's own default")
	flag.Uint64Var(&o.ops, "ops", 0, "operations in all; 0: the workload's own default")
	flag.Uint64Var(&o.sleepMs, "sleep-ms", 100, "storm: each sleep")
	flag.Uint64Var(&o.seconds, "seconds", 10, "idle: how long to watch")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.Parse()
	run, known := workloads[o.workload]
	if !known || flag.NArg() > 0 || o.workers < 1 || o.workers > 56 {
		fmt.Fprintln(os.Stderr, "bad flag: see -help")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(int(o.workers))
	run()
}
