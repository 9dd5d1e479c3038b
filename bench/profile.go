package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/secret"
	"gantry/internal/server"
	"gantry/internal/worker"
	"gantry/internal/worker/sandbox"
)

// profiled is a server inside this process, so that it can be profiled, loaded from another one as always.
type profiled struct {
	*place
	close func()
}

// hot is a path worth a profile: what loads it while it is taken.
type hot struct {
	name   string
	worker bool // the worker runs in this process too
	load   func(ctx context.Context, p *profiled) error
}

func reads(path func(p *place) string) func(ctx context.Context, p *profiled) error {
	return func(ctx context.Context, p *profiled) error {
		_, err := p.b.drive(ctx, load{Addr: p.oursAt, Conns: conns, Time: p.b.took, Requests: []string{request("GET", path(p.place), p.key, "")}})
		return err
	}
}

var hots = []hot{
	{"list100", false, reads(func(p *place) string { return "/v3/organizations/" + p.org + "/sessions?first=100" })},
	{"list3", false, reads(func(p *place) string { return "/v3/organizations/" + p.org + "/sessions?first=3" })},
	{"get", false, reads(func(p *place) string { return "/v3/organizations/" + p.org + "/sessions/" + p.session })},
	{"self", false, reads(func(*place) string { return "/v3/self" })},
	{"create", false, func(ctx context.Context, p *profiled) error {
		_, err := p.b.drive(ctx, load{Addr: p.oursAt, Conns: conns, Time: p.b.took, Requests: p.creates("Look at the tests.")})
		return err
	}},
	{"stream", false, func(ctx context.Context, p *profiled) error {
		r, _, err := p.b.inner(ctx, "readers", readers{Addr: p.oursAt, Count: 300, Request: p.streamRequest()})
		if err != nil {
			return err
		}
		clock.Sleep(ctx, p.b.took)
		r.kill()
		return nil
	}},
	{"sessions", true, func(ctx context.Context, p *profiled) error {
		const count = 60
		if _, err := p.b.drive(ctx, load{Addr: p.oursAt, Conns: conns, Count: count, Requests: p.creates(hello)}); err != nil {
			return err
		}
		for done := 0; done < count; {
			if !clock.Sleep(ctx, 50*time.Millisecond) {
				return ctx.Err()
			}
			if err := p.db.QueryRowContext(ctx, `SELECT count(*) FROM sessions WHERE status_detail = 'finished'`).Scan(&done); err != nil {
				return err
			}
		}
		return nil
	}},
}

// profile writes a profile of every hot path and prints where its time goes.
func (b *bench) profile(ctx context.Context, dir, only, out string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var page strings.Builder
	for _, h := range hots {
		if only != "" && !slices.Contains(strings.Split(only, ","), h.name) {
			continue
		}
		for _, e := range engines {
			top, err := b.profileOne(ctx, filepath.Join(dir, h.name+"-"+e+".pprof"), h, e)
			if err != nil {
				return fmt.Errorf("%s %s: %w", h.name, e, err)
			}
			text := fmt.Sprintf("### %s, %s\n\n```\n%s```\n\n", h.name, e, top)
			_, _ = io.WriteString(os.Stdout, text)
			page.WriteString(text)
		}
	}
	if out == "" {
		return nil
	}
	return replacePart(out, "profiles", page.String())
}

func (b *bench) profileOne(ctx context.Context, file string, h hot, engine string) (string, error) {
	p, err := b.inProcess(ctx, engine, fmt.Sprintf("%s%d", h.name, b.clock.Millis()), h.worker)
	if err != nil {
		return "", err
	}
	defer p.close()
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // StopCPUProfile wrote everything
	if err := pprof.StartCPUProfile(f); err != nil {
		return "", err
	}
	err = h.load(ctx, p)
	pprof.StopCPUProfile()
	if err != nil {
		return "", err
	}
	return top(ctx, file)
}

// top prints the functions that take most time themselves, and those that take most with all they call.
func top(ctx context.Context, file string) (string, error) {
	var out strings.Builder
	for _, sort := range []string{"-flat", "-cum"} {
		args := []string{"tool", "pprof", "-top", sort, "-nodecount=10"}
		if sort == "-cum" {
			args = append(args, "-focus=gantry/internal", "-show=gantry/internal")
		}
		text, err := exec.CommandContext(ctx, "go", append(args, file)...).Output()
		if err != nil {
			return "", fmt.Errorf("go tool pprof: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "File:") || strings.HasPrefix(line, "Type:") || strings.HasPrefix(line, "Time:") || strings.HasPrefix(line, "Build ID:") {
				continue
			}
			out.WriteString(line)
		}
	}
	return out.String(), nil
}

// inProcess starts a filled server, and on request a worker, in this process.
func (b *bench) inProcess(ctx context.Context, engine, name string, work bool) (*profiled, error) {
	p, err := b.newPlace(ctx, engine, engine+"_"+name)
	if err != nil {
		return nil, err
	}
	cfg := &config.Serve{}
	config.Bind(cfg) // the defaults
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.oursAt = l.Addr().String()
	cfg.Data, cfg.Database, cfg.NoWorker = p.data, p.url, true
	cfg.Listen.Listen, cfg.PublicURL = p.oursAt, "http://"+p.oursAt
	cfg.RequestsInFlight, cfg.StreamsInFlight = 1000, 10000
	if err := cfg.Finish(config.Sources{}); err != nil {
		return nil, err
	}
	logFile, err := os.Create(filepath.Join(b.dir, "profiled.log"))
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewJSONHandler(logFile, nil))
	s, err := server.New(ctx, cfg, log, server.Options{})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	front := http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	wg.Go(func() { _ = front.Serve(l) }) // ends with Close
	wg.Go(func() { _ = s.Run(running) }) // ends with running
	p.admin, p.org = s.First().Token.Reveal(), s.First().OrgID
	out := &profiled{place: p, close: func() {
		s.Drain()
		stop()
		_ = front.Close()
		wg.Wait()
		_ = errors.Join(s.Close(), logFile.Close()) // it was measured already
		p.close()
	}}
	if err := p.serviceUser(ctx); err != nil {
		return nil, err
	}
	if work {
		o := worker.Options{
			Server: "http://" + p.oursAt, Key: secret.New(s.EmbeddedKey().Reveal()), Name: "profiled", DataDir: filepath.Join(p.data, "worker"),
			Capacity: capacity, Sandbox: sandbox.Options{Self: b.gantry, Net: "none", Logger: log}, Logger: log,
		}
		wg.Go(func() { _ = worker.Run(running, o) }) // what fails shows in the load
		return out, nil
	}
	_, err = b.drive(ctx, load{Addr: p.oursAt, Conns: conns, Count: b.seeded(), Requests: p.creates("Look at the tests.")})
	if err != nil {
		return nil, err
	}
	return out, p.db.QueryRowContext(ctx, `SELECT session_id FROM sessions ORDER BY created_at LIMIT 1 OFFSET 50`).Scan(&p.session)
}
