package telemetry

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runtimeSeries are the runtime's own figures under the names that dashboards for Go programs look for.
var runtimeSeries = []struct{ from, kind, name, help string }{
	{"/sched/goroutines:goroutines", "gauge", "go_goroutines", "Goroutines that exist."},
	{"/memory/classes/heap/objects:bytes", "gauge", "go_memstats_heap_alloc_bytes", "Heap that objects take."},
	{"/memory/classes/total:bytes", "gauge", "go_memstats_sys_bytes", "Memory obtained from the system."},
	{"/gc/heap/goal:bytes", "gauge", "go_memstats_next_gc_bytes", "Heap size at which the next collection ends."},
	{"/gc/heap/allocs:bytes", "counter", "go_memstats_alloc_bytes_total", "Bytes allocated since the start."},
	{"/gc/cycles/total:gc-cycles", "counter", "go_gc_cycles_total", "Garbage collections that ended."},
}

// writeProcess tells of the process. What this system doesn't say is left out.
func writeProcess(p *page, started time.Time) {
	p.head("go_info", "gauge", "The version of Go.")
	p.sample("go_info", "version="+strconv.Quote(runtime.Version()), 1)
	samples := make([]metrics.Sample, len(runtimeSeries))
	for i, s := range runtimeSeries {
		samples[i].Name = s.from
	}
	metrics.Read(samples)
	for i, s := range runtimeSeries {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			p.head(s.name, s.kind, s.help)
			p.sample(s.name, "", float64(samples[i].Value.Uint64()))
		}
	}
	p.gauge("process_start_time_seconds", "When the process began, in Unix seconds.", float64(started.UnixMilli())/1000)
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		p.counter("process_cpu_seconds_total", "Processor time that the process has taken.",
			(time.Duration(used.Utime.Nano()) + time.Duration(used.Stime.Nano())).Seconds())
	}
	if pages, ok := residentPages(); ok {
		p.gauge("process_resident_memory_bytes", "Memory that the process holds.", float64(pages)*float64(os.Getpagesize()))
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.gauge("process_open_fds", "Open files and connections.", float64(len(open)-1)) // less the one that lists them
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		p.gauge("process_max_fds", "How many may be open.", float64(limit.Cur))
	}
}

func residentPages() (int64, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), " ")
	resident, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(resident, 10, 64)
	return n, err == nil
}
