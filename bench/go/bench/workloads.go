// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var workloads = map[string]func(){
	"yield": yield, "spawn": spawn, "spawn-waves": spawnWaves, "spawn-join": spawnJoin,
	"pingpong": pingpong, "storm": storm, "idle": idle, "million": million, "skynet": skynet,
	"lateness": lateness, "steal": steal, "mutex": mutex,
}

func names() []string {
	var list []string
	for name := range workloads {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}

// startLine starts the clock when the last goroutine has arrived; all go on from there.
type startLine struct {
	missing atomic.Int64
	open    atomic.Bool
	m       *meter
}

func newStartLine(threads uint64, m *meter) *startLine {
	s := &startLine{m: m}
	s.missing.Store(int64(threads))
	return s
}

func (s *startLine) arrive() {
	if s.missing.Add(-1) == 0 {
		s.m.start()
		s.open.Store(true)
	}
	for !s.open.Load() {
		runtime.Gosched()
	}
}

// finishLine stops the clock with the last goroutine.
type finishLine struct {
	missing atomic.Int64
	m       *meter
}

func newFinishLine(threads uint64, m *meter) *finishLine {
	f := &finishLine{m: m}
	f.missing.Store(int64(threads))
	return f
}

func (f *finishLine) arrive() {
	if f.missing.Add(-1) == 0 {
		f.m.stop()
	}
}

// inRounds runs `step` the same number of times on each of o.threads goroutines and returns that
// number; the clock sees the steady part only.
func inRounds(m *meter, step func()) uint64 {
	n := rounds()
	start, finish := newStartLine(o.threads, m), newFinishLine(o.threads, m)
	var all sync.WaitGroup
	all.Add(int(o.threads))
	for i := uint64(0); i < o.threads; i++ {
		go func() {
			start.arrive()
			for k := uint64(0); k < n; k++ {
				step()
			}
			finish.arrive()
			all.Done()
		}()
	}
	all.Wait()
	return n
}

func yield() {
	defaultTo(1000, 50_000_000)
	var m meter
	n := inRounds(&m, runtime.Gosched)
	// The clock sees n yields of each, and its way back from the start line's.
	perOp(&m, o.threads*(n+1))
}

func mutex() {
	defaultTo(64, 10_000_000)
	var m meter
	var lock sync.Mutex
	var count uint64
	n := inRounds(&m, func() {
		lock.Lock()
		count++
		lock.Unlock()
	})
	if count != o.threads*n {
		fail("the mutex does not exclude")
	}
	perOp(&m, count)
}

func spawnWavesOf(threads, waves uint64) {
	var ran atomic.Uint64
	var all sync.WaitGroup
	wave := func() {
		all.Add(int(threads))
		for i := uint64(0); i < threads; i++ {
			go func() {
				ran.Add(1)
				all.Done()
			}()
		}
		all.Wait()
	}
	expected := threads * waves
	if waves > 1 { // the first fills pools and touches stacks: not measured
		wave()
		expected += threads
	}
	var m meter
	m.start()
	for w := uint64(0); w < waves; w++ {
		wave()
	}
	m.stop()
	if ran.Load() != expected {
		fail("%d of %d goroutines ran", ran.Load(), expected)
	}
	perOp(&m, threads*waves)
}

func spawn() {
	defaultTo(0, 1_000_000)
	o.threads = o.ops
	spawnWavesOf(o.ops, 1)
	line("peak-rss", "MB", selfBytes("VmHWM:")/1e6)
}

func spawnWaves() {
	defaultTo(1000, 2_000_000)
	spawnWavesOf(o.threads, rounds())
}

func spawnJoin() {
	defaultTo(1, 2_000_000)
	var m meter
	var ran uint64
	done := make(chan struct{})
	for i := uint64(0); i < 1000+o.ops; i++ {
		if i == 1000 {
			m.start()
		}
		go func() {
			ran++
			done <- struct{}{}
		}()
		<-done
	}
	m.stop()
	if ran != 1000+o.ops {
		fail("%d of %d goroutines ran", ran, 1000+o.ops)
	}
	perOp(&m, o.ops)
}

func pingpong() {
	defaultTo(2, 5_000_000)
	const warmUp = 1000
	n := warmUp + o.ops
	ping, pong := make(chan struct{}), make(chan struct{})
	var m meter
	var all sync.WaitGroup
	all.Add(2)
	go func() {
		for i := uint64(0); i < n; i++ {
			<-ping
			pong <- struct{}{}
		}
		all.Done()
	}()
	go func() {
		for i := uint64(0); i < n; i++ {
			if i == warmUp {
				m.start()
			}
			ping <- struct{}{}
			<-pong
		}
		m.stop()
		all.Done()
	}()
	all.Wait()
	perOp(&m, o.ops)
}

func storm() {
	defaultTo(20_000, 20_000*50)
	n := rounds()
	var slept atomic.Uint64
	var m meter
	var all sync.WaitGroup
	all.Add(int(o.threads))
	sleep := time.Duration(o.sleepMs) * time.Millisecond
	m.start()
	for i := uint64(0); i < o.threads; i++ {
		go func() {
			for k := uint64(0); k < n; k++ {
				time.Sleep(sleep)
			}
			slept.Add(n)
			all.Done()
		}()
	}
	all.Wait()
	m.stop()
	if slept.Load() != o.threads*n {
		fail("%d of %d sleeps", slept.Load(), o.threads*n)
	}
	line("wall", "s", m.wallNs()/1e9)
	line("cpu", "s", m.cpuNs()/1e9)
	conditions(&m, o.threads*n)
}

// osSleep blocks the OS thread; the runtime has no timer for it.
func osSleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	for syscall.Nanosleep(&t, &t) == syscall.EINTR {
	}
}

// The observer is an OS thread of its own that leaves itself out.
func idle() {
	defaultTo(20_000, 1)
	var asleep atomic.Uint64
	for i := uint64(0); i < o.threads; i++ {
		go func() {
			asleep.Add(1)
			time.Sleep(10 * time.Hour)
		}()
	}
	runtime.LockOSThread()
	for asleep.Load() < o.threads {
		time.Sleep(10 * time.Millisecond)
	}
	osSleep(500 * time.Millisecond)
	othersCPU := func() int64 {
		mine := clockNs(clockThreadCPU)
		return clockNs(clockProcessCPU) - mine
	}
	switchesBefore, cpuBefore := otherTasksSwitches(), othersCPU()
	osSleep(time.Duration(o.seconds) * time.Second)
	cpu := float64(othersCPU() - cpuBefore)
	if cpu < 0 { // the two clocks are read one after the other
		cpu = 0
	}
	line("cpu", "ms", cpu/1e6)
	line("os-wakeups", "wakes", float64(otherTasksSwitches()-switchesBefore))
	line("peak-rss", "MB", selfBytes("VmHWM:")/1e6)
	os.Exit(0)
}

func million() {
	defaultTo(1_000_000, 1)
	gate := make(chan struct{})
	var parked atomic.Uint64
	var all sync.WaitGroup
	all.Add(int(o.threads))
	rss, pte := selfBytes("VmRSS:"), selfBytes("VmPTE:")
	var m meter
	m.start()
	for i := uint64(0); i < o.threads; i++ {
		go func() {
			parked.Add(1)
			<-gate
			all.Done()
		}()
	}
	for parked.Load() < o.threads {
		runtime.Gosched()
	}
	m.stop()
	rss, pte = selfBytes("VmRSS:")-rss, selfBytes("VmPTE:")-pte
	close(gate)
	all.Wait()
	n := float64(o.threads)
	line("wall", "s", m.wallNs()/1e9)
	line("rss", "bytes/thread", rss/n)
	line("page-tables", "bytes/thread", pte/n)
	line("memory", "bytes/thread", (rss+pte)/n)
	conditions(&m, o.threads)
}

func node(result chan<- uint64, first, leaves uint64) {
	if leaves == 1 {
		result <- first
		return
	}
	children := make(chan uint64)
	for i := uint64(0); i < 10; i++ {
		go node(children, first+i*(leaves/10), leaves/10)
	}
	var sum uint64
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	result <- sum
}

func skynet() {
	defaultTo(0, 1_000_000)
	nodes, leaves := uint64(1), uint64(1)
	for leaves < o.ops {
		leaves *= 10
		nodes += leaves
	}
	if leaves != o.ops {
		fail("-ops is the number of leaves: a power of 10")
	}
	o.threads = nodes
	var m meter
	result := make(chan uint64)
	m.start()
	go node(result, 0, leaves)
	sum := <-result
	m.stop()
	if expected := leaves * (leaves - 1) / 2; sum != expected {
		fail("the sum is %d, not %d", sum, expected)
	}
	line("wall", "ms", m.wallNs()/1e6)
	line("peak-rss", "MB", selfBytes("VmHWM:")/1e6)
	conditions(&m, nodes)
}

// splitmix64 is bench/common.hpp's.
func splitmix64(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func lateness() {
	defaultTo(1000, 20_000)
	n := rounds()
	lateNs := make([]int64, o.threads*n)
	for i := range lateNs {
		lateNs[i] = 1 // touched before the clock matters
	}
	var m meter
	var all sync.WaitGroup
	all.Add(int(o.threads))
	m.start()
	for i := uint64(0); i < o.threads; i++ {
		go func(i uint64) {
			state := i
			for k := uint64(0); k < n; k++ {
				d := time.Duration(1000+splitmix64(&state)%49001) * time.Microsecond
				begin := time.Now()
				time.Sleep(d)
				lateNs[i*n+k] = int64(time.Since(begin) - d)
			}
			all.Done()
		}(i)
	}
	all.Wait()
	m.stop()
	latenessLines(lateNs)
	conditions(&m, uint64(len(lateNs)))
}

// work is bench/common.hpp's work_1us.
func work(seed uint64) uint64 {
	x := seed | 1
	for i := 0; i < 450; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

var sink atomic.Uint64

func steal() {
	defaultTo(1000, 1_000_000)
	const calls = 20000
	x, begin := uint64(1), time.Now()
	for i := 0; i < calls; i++ {
		x = work(x)
	}
	workNs := float64(time.Since(begin)) / calls
	sink.Store(x)
	var finished atomic.Uint64
	var m meter
	var all sync.WaitGroup
	all.Add(int(o.ops))
	m.start()
	for i := uint64(0); i < o.ops; i++ {
		go func(i uint64) {
			if work(i) == 0 {
				sink.Add(1)
			}
			finished.Add(1)
			all.Done()
		}(i)
		for i+1-finished.Load() >= o.threads {
			runtime.Gosched()
		}
	}
	all.Wait()
	m.stop()
	if finished.Load() != o.ops {
		fail("%d of %d done", finished.Load(), o.ops)
	}
	line("work", "ns", workNs)
	perOp(&m, o.ops)
}
