package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gantry/internal/platform/clock"
)

// streamFigure compares what an open event stream costs the server: memory, and processor time while nothing happens. Each value is of
// a server that was just started, so that what an earlier load left in it doesn't hide anything.
func streamFigure(ctx context.Context, b *bench, engine string) ([]row, error) {
	p, err := b.at(ctx, engine)
	if err != nil {
		return nil, err
	}
	p.ours.kill()
	p.ours = nil
	count := 1000
	if b.quick {
		count = 500
	}
	var cpus [2][]float64
	side := func(n int, start func() (*child, string, error), request string) func() (float64, error) {
		return func() (float64, error) {
			c, addr, err := start()
			if err != nil {
				return 0, err
			}
			defer c.kill()
			m, cpu, err := b.readers(ctx, c.pid(), readers{Addr: addr, Request: request, Count: count})
			cpus[n] = append(cpus[n], cpu)
			return m, err
		}
	}
	x, y, err := b.interleave(
		side(0, func() (*child, string, error) { return p.serve(ctx, "--no-worker") }, p.streamRequest()),
		side(1, func() (*child, string, error) { return p.startBare(ctx) }, request("GET", "/sessions/"+p.session+"/events", "", "")))
	if err != nil {
		return nil, err
	}
	if p.ours, p.oursAt, err = p.serve(ctx, "--no-worker"); err != nil {
		return nil, err
	}
	p.oursPID = p.ours.pid()
	perMille := func(v float64) string { return fmt.Sprintf("%.2f ms/s", v) }
	return []row{
		{what: "an event-stream reader, the server's memory (PSS)", ratios: ratios(x, y), target: 1.3, atMost: true, ours: each(x, kib), bare: each(y, kib)},
		{
			what: "an event-stream reader, the server's processor time", ratios: ratios(cpus[0], cpus[1]), target: 1.3, atMost: true,
			ours: each(cpus[0], perMille), bare: each(cpus[1], perMille), note: "idle; each looks once a second",
		},
	}, nil
}

// streamRequest asks for the events of the place's session as they come.
func (p *place) streamRequest() string {
	r := request("GET", "/gantry/v1/organizations/"+p.org+"/sessions/"+p.session+"/events", p.key, "")
	return strings.Replace(r, "Accept: application/json", "Accept: text/event-stream", 1)
}

// readers gives what one more stream adds to a server's memory in bytes, and the milliseconds of processor time that a stream takes a
// second. Some are opened before the first look: pools and caches that the first ones fill are no part of what one more costs.
func (b *bench) readers(ctx context.Context, pid int, t readers) (bytes, cpu float64, err error) {
	all := t.Count
	var m [2]memory
	for i, n := range []int{all / 5, all - all/5} {
		t.Count = n
		r, line, err := b.inner(ctx, "readers", t)
		if err != nil {
			return 0, 0, err
		}
		defer r.kill()
		if line != `"open"` {
			return 0, 0, fmt.Errorf("readers: %s", line)
		}
		clock.Sleep(ctx, settle)
		if m[i], err = memoryOf(pid); err != nil {
			return 0, 0, err
		}
	}
	const window = 4 * time.Second
	used := cpuOf(pid)
	clock.Sleep(ctx, window)
	used = cpuOf(pid) - used
	return (m[1].pss - m[0].pss) / float64(t.Count), used.Seconds() * 1000 / window.Seconds() / float64(all), nil
}
