package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gantry/internal/platform/clock"
)

// buildImports makes a program that imports what gantry's main package imports and does nothing. Its source is written at each run from
// what the go command says, so it can't fall behind.
func (b *bench) buildImports(ctx context.Context, out string) error {
	list, err := exec.CommandContext(ctx, "go", "list", "-f", `{{join .Imports "\n"}}`, "./cmd/gantry").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	var source strings.Builder
	source.WriteString("package main\n\nimport (\n\t\"time\"\n")
	for p := range strings.FieldsSeq(string(list)) {
		source.WriteString("\t_ \"" + p + "\"\n")
	}
	source.WriteString(")\n\nfunc main() { time.Sleep(time.Hour) }\n")
	file := filepath.Join(b.dir, "imports.go")
	if err := os.WriteFile(file, []byte(source.String()), 0o600); err != nil {
		return err
	}
	// The overlay puts it inside the module, where it may import internal packages.
	top, err := filepath.Abs("bench/imports/main.go")
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{top: file}})
	if err != nil {
		return err
	}
	overlay := filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return err
	}
	return b.goBuild(ctx, out, "-overlay", overlay, "./bench/imports")
}

// settle is how long a process has to get quiet before its memory is read.
const settle = 2 * time.Second

// idleMemory is that of a program that was just started.
func (b *bench) idleMemory(ctx context.Context, program string, args ...string) (memory, error) {
	c, err := b.start(ctx, "idle", program, args...)
	if err != nil {
		return memory{}, err
	}
	defer c.kill()
	clock.Sleep(ctx, settle)
	return memoryOf(c.pid())
}

// plain is the bare Go and SQLite server, on a database of Gantry's.
func (b *bench) plain(ctx context.Context) (string, error) {
	out := filepath.Join(b.dir, "plain")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	return out, b.goBuild(ctx, out, "./bench/plain")
}

// startFigure compares the time from the start of the process to the first good answer, on a database with data.
func startFigure(ctx context.Context, b *bench, _ string) ([]row, error) {
	p, plain, err := b.existing(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	const starts = 5 // for each value
	once := func(path, program string, args ...string) (float64, error) {
		var took []float64
		for range starts {
			addr, err := freeAddr()
			if err != nil {
				return 0, err
			}
			begun := b.clock.Now()
			c, err := b.start(ctx, "start", program, append(args, "--listen", addr)...)
			if err != nil {
				return 0, err
			}
			err = ready(ctx, addr, path, c)
			took = append(took, float64(b.clock.Since(begun).Microseconds())/1000)
			if err != nil {
				return 0, fmt.Errorf("%w: %s", err, b.lastWords("start"))
			}
			_ = c.stop() // how it ends is no part of this
		}
		return median(took), nil
	}
	ours := func() (float64, error) {
		return once("/readyz", b.gantry, "serve", "--data", p.data, "--database", p.url)
	}
	bare := func() (float64, error) { return once("/", plain, "--database", filepath.Join(p.data, "gantry.db")) }
	x, y, err := b.interleave(ours, bare)
	if err != nil {
		return nil, err
	}
	return []row{{
		what: "start to ready on existing data", ratios: ratios(x, y), target: 3, atMost: true, ours: each(x, millis), bare: each(y, millis),
		note: "baseline: bare Go + SQLite server; the target was set at 3 times 35 ms",
	}}, nil
}

// existing is a SQLite place with data and no server on it.
func (b *bench) existing(ctx context.Context) (*place, string, error) {
	plain, err := b.plain(ctx)
	if err != nil {
		return nil, "", err
	}
	p, err := b.newPlace(ctx, "sqlite", fmt.Sprintf("existing%d", b.clock.Millis()))
	if err != nil {
		return nil, "", err
	}
	if err := p.fill(ctx); err != nil {
		return nil, "", err
	}
	err = p.ours.stop()
	p.ours = nil
	return p, plain, err
}

func idleFigure(ctx context.Context, b *bench, _ string) ([]row, error) {
	b.close() // another server of the same program would take its share of the pages
	p, plain, err := b.existing(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var with []float64
	ours := func(args ...string) (memory, error) {
		c, _, err := p.serve(ctx, args...)
		if err != nil {
			return memory{}, err
		}
		defer func() { _ = c.stop() }() // how it ends is no part of this
		pids := []int{c.pid()}
		if len(args) == 0 {
			worker, err := workerOf(ctx, c.pid())
			if err != nil {
				return memory{}, err
			}
			pids = append(pids, worker)
		}
		clock.Sleep(ctx, settle)
		return memoryOf(pids...)
	}
	x, y, err := b.interleave(
		func() (float64, error) {
			m, err := ours()
			if err != nil {
				return 0, err
			}
			with = append(with, m.pss)
			m, err = ours("--no-worker")
			return m.pss, err
		},
		func() (float64, error) {
			addr, err := freeAddr()
			if err != nil {
				return 0, err
			}
			c, err := b.start(ctx, "plain", plain, "--database", filepath.Join(p.data, "gantry.db"), "--listen", addr)
			if err != nil {
				return 0, err
			}
			defer c.kill()
			if err := ready(ctx, addr, "/", c); err != nil {
				return 0, err
			}
			clock.Sleep(ctx, settle)
			m, err := memoryOf(c.pid())
			return m.pss, err
		})
	if err != nil {
		return nil, err
	}
	note := "baseline: bare Go + SQLite server; the target was set at 3 times 17 MB"
	return []row{
		{what: "idle memory of the server, PSS", ratios: ratios(x, y), target: 3, atMost: true, ours: each(x, mib), bare: each(y, mib), note: note},
		{what: "idle memory with its embedded worker's process, PSS", ratios: ratios(with, y), target: 3, atMost: true, ours: each(with, mib), bare: each(y, mib), note: note},
	}, nil
}

func sizeFigure(ctx context.Context, b *bench, _ string) ([]row, error) {
	plain, err := b.plain(ctx)
	if err != nil {
		return nil, err
	}
	var size [2]float64
	for i, path := range []string{b.gantry, plain} {
		st, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		size[i] = float64(st.Size())
	}
	return []row{{
		what: "stripped binary", ratios: []float64{size[0] / size[1]}, target: 3, atMost: true, ours: mib(size[0]), bare: mib(size[1]),
		note: "baseline: bare Go + SQLite server",
	}}, nil
}
