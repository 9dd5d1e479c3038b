package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gantry/internal/client"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/secret"
)

// updates measures how long it takes from a create to the first thing that the agent itself says, read through the API.
type updates struct {
	URL, Key, Org string
	Count         int
}

// timed are durations in milliseconds.
type timed struct {
	Millis []float64
	Error  string
}

func (t timed) at(q float64) float64 {
	return quantile(slices.Sorted(slices.Values(t.Millis)), q)
}

const hello = "```sh\necho hello\n```\n"

// fromAgent are the types of events that only the agent causes.
var fromAgent = []string{"message", "thought", "plan", "tool", "tool_output"}

func updatesMain(ctx context.Context) error {
	var u updates
	if err := task(&u); err != nil {
		return err
	}
	c, err := client.New(client.Options{URL: u.URL, Key: secret.New(u.Key)})
	if err != nil {
		return err
	}
	var out timed
	for range u.Count {
		ms, err := u.one(ctx, c)
		if err != nil {
			out.Error = err.Error()
			break
		}
		out.Millis = append(out.Millis, ms)
	}
	return answer(out)
}

// one creates a session, follows it until the agent speaks, and waits for its end so that the next one has the machine to itself.
func (u updates) one(ctx context.Context, c *client.Client) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var cl clock.Clock
	begun := cl.Now()
	s, err := c.CreateSession(ctx, u.Org, client.CreateSession{Prompt: hello})
	if err != nil {
		return 0, err
	}
	took := 0.0
	for e, err := range c.Follow(ctx, u.Org, s.SessionID, 0) {
		if err != nil {
			return 0, err
		}
		if took == 0 && slices.Contains(fromAgent, e.Type) {
			took = float64(cl.Since(begun).Microseconds()) / 1000
		}
		if e.Type == "turn" && took > 0 && string(e.Data) != "" {
			break
		}
	}
	for range 1000 {
		got, err := c.GetSession(ctx, u.Org, s.SessionID)
		if err != nil {
			return 0, err
		}
		if got.StatusDetail == "finished" {
			return took, nil
		}
		clock.Sleep(ctx, 2*time.Millisecond)
	}
	return 0, fmt.Errorf("session %s doesn't finish", s.SessionID)
}

// chain is the bare chain: what no way around it is in starting a session. Two starts of our program, one of bwrap, two commits.
type chain struct {
	Gantry, Database string
	Count, Parallel  int
}

func chainMain(ctx context.Context) error {
	var t chain
	if err := task(&t); err != nil {
		return err
	}
	return answer(t.run(ctx))
}

func (t chain) run(ctx context.Context) timed {
	var out timed
	d, err := openSQL(t.Database, true)
	if err != nil {
		return timed{Error: err.Error()}
	}
	defer func() { _ = d.Close() }() // nothing is in flight
	var mu sync.Mutex
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(t.Count))
	for range t.Parallel {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				var c clock.Clock
				begun := c.Now()
				err := t.one(ctx, func() error {
					_, err := d.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2)
						ON CONFLICT (name) DO UPDATE SET value = excluded.value`, "bench", begun.String())
					return err
				})
				mu.Lock()
				if err != nil {
					out.Error = err.Error()
				}
				out.Millis = append(out.Millis, float64(c.Since(begun).Microseconds())/1000)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}

func (t chain) one(ctx context.Context, commit func() error) error {
	if err := commit(); err != nil {
		return err
	}
	sandbox := exec.CommandContext(ctx, "bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "true")
	if err := sandbox.Run(); err != nil {
		return fmt.Errorf("bwrap: %w", err)
	}
	first := exec.CommandContext(ctx, t.Gantry, "sandbox-init") // with nothing to start it complains and ends
	if err := first.Run(); err != nil && first.ProcessState == nil {
		return err
	}
	agent := exec.CommandContext(ctx, t.Gantry, "agent", "runbook") // its input is empty, so it ends
	if err := agent.Run(); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return commit()
}

func (b *bench) chain(ctx context.Context, p *place, count, parallel int) (timed, float64, error) {
	var out timed
	begun := b.clock.Now()
	err := b.ask(ctx, "chain", chain{Gantry: b.gantry, Database: p.url, Count: count, Parallel: parallel}, &out)
	if err == nil && out.Error != "" {
		err = fmt.Errorf("the bare chain: %s", out.Error)
	}
	return out, float64(count) / b.clock.Since(begun).Seconds(), err
}

// fresh gives a place of its own, ready, with an embedded worker.
func (b *bench) fresh(ctx context.Context, engine, name string, args ...string) (*place, error) {
	p, err := b.newPlace(ctx, engine, engine+"_"+name)
	if err != nil {
		return nil, err
	}
	if p.ours, p.oursAt, err = p.serve(ctx, args...); err != nil {
		return nil, err
	}
	p.oursPID = p.ours.pid()
	return p, p.keys(ctx)
}

func updateFigure(ctx context.Context, b *bench, engine string) ([]row, error) {
	p, err := b.fresh(ctx, engine, "update", "--sandbox-net", "none")
	if err != nil {
		return nil, err
	}
	defer p.close()
	n := 50
	if b.quick {
		n = 15
	}
	ask := updates{URL: "http://" + p.oursAt, Key: p.key, Org: p.org, Count: n}
	var a, z timed
	var at [2][2][]float64 // side, quantile
	for round := range b.pairs + 1 {
		var ours timed
		if err := b.ask(ctx, "updates", ask, &ours); err != nil {
			return nil, err
		}
		if ours.Error != "" {
			return nil, fmt.Errorf("%s: %s", ours.Error, b.lastWords("gantry-"+engine))
		}
		bare, _, err := b.chain(ctx, p, n, 1)
		if err != nil {
			return nil, err
		}
		if round == 0 {
			continue // files are read into memory, pools filled
		}
		a.Millis, z.Millis = append(a.Millis, ours.Millis...), append(z.Millis, bare.Millis...)
		for i, t := range []timed{ours, bare} {
			for k, q := range []float64{0.5, 0.99} {
				at[i][k] = append(at[i][k], t.at(q))
			}
		}
	}
	return []row{
		{
			what: "create to the agent's first update, p50", ratios: ratios(at[0][0], at[1][0]), target: 2, atMost: true,
			ours: millis(a.at(0.5)), bare: millis(z.at(0.5)),
		},
		{
			what: "create to the agent's first update, p99", ratios: ratios(at[0][1], at[1][1]), target: 5, atMost: true,
			ours: millis(a.at(0.99)), bare: millis(z.at(0.99)), note: fmt.Sprintf("%.1f times the chain's p50", a.at(0.99)/z.at(0.5)),
		},
	}, nil
}

// capacity of the worker that works on many sessions.
const capacity = 16

func sessionsFigure(ctx context.Context, b *bench, engine string) ([]row, error) {
	count := 500
	if b.quick {
		count = 60
	}
	idle := b.dir + "/idle-imports"
	if err := b.buildImports(ctx, idle); err != nil {
		return nil, err
	}
	var rate, chains, waits50, waits99, pss, rss, barePSS, bareRSS []float64
	for range b.pairs {
		ours, err := b.manySessions(ctx, engine, count)
		if err != nil {
			return nil, err
		}
		rate, pss, rss = append(rate, ours.rate), append(pss, ours.peak.pss), append(rss, ours.peak.rss)
		waits50, waits99 = append(waits50, ours.wait50), append(waits99, ours.wait99)
		chains = append(chains, ours.chains)
		bare, err := b.idleMemory(ctx, idle)
		if err != nil {
			return nil, err
		}
		barePSS, bareRSS = append(barePSS, bare.pss), append(bareRSS, bare.rss)
	}
	seconds := func(ms float64) string { return fmt.Sprintf("%.1f s", ms/1000) }
	return []row{
		{
			what: fmt.Sprintf("%d sessions, worker of capacity %d: sessions/s", count, capacity), ratios: ratios(rate, chains),
			ours: fmt.Sprintf("%.1f/s", median(rate)), bare: fmt.Sprintf("%.1f/s", median(chains)), note: "baseline: bare chains, 16 at a time",
		},
		{what: "  wait in the queue, p50 and p99", ours: each(waits50, seconds) + " " + each(waits99, seconds)},
		{
			what: "  supervisor's peak memory, PSS", ratios: ratios(pss, barePSS), target: 1.3, atMost: true,
			ours: each(pss, mib), bare: each(barePSS, mib), note: fmt.Sprintf("RSS %s / %s", each(rss, mib), each(bareRSS, mib)),
		},
	}, nil
}

type many struct {
	rate, chains, wait50, wait99 float64
	peak                         memory
}

// manySessions has a fresh server's worker do so many runbook sessions.
func (b *bench) manySessions(ctx context.Context, engine string, count int) (m many, err error) {
	name := fmt.Sprintf("many%d", b.clock.Millis())
	p, err := b.fresh(ctx, engine, name, "--worker-capacity", fmt.Sprint(capacity), "--sandbox-net", "none")
	if err != nil {
		return m, err
	}
	defer func() {
		p.close()
		_ = os.RemoveAll(p.data) // a directory of ours
	}()
	worker, err := workerOf(ctx, p.oursPID)
	if err != nil {
		return m, err
	}
	begun := b.clock.Now()
	if _, err := b.drive(ctx, load{Addr: p.oursAt, Conns: conns, Count: int64(count), Requests: p.creates(hello)}); err != nil {
		return m, err
	}
	for done := 0; done < count; {
		now, err := memoryOf(worker)
		if err != nil {
			return m, err
		}
		m.peak.pss, m.peak.rss = max(m.peak.pss, now.pss), max(m.peak.rss, now.rss)
		if !clock.Sleep(ctx, 100*time.Millisecond) || b.clock.Since(begun) > 10*time.Minute {
			return m, fmt.Errorf("%d of %d sessions are done; %s", done, count, b.lastWords("gantry-"+engine))
		}
		if err := p.db.QueryRowContext(ctx, `SELECT count(*) FROM sessions WHERE status_detail = 'finished'`).Scan(&done); err != nil {
			return m, err
		}
	}
	m.rate = float64(count) / b.clock.Since(begun).Seconds()
	rows, err := p.db.QueryContext(ctx, `SELECT MIN(e.created_at - s.created_at) AS wait FROM sessions s
		JOIN session_events e ON e.session_id = s.session_id AND e.type = 'claimed' GROUP BY s.session_id ORDER BY wait`)
	if err != nil {
		return m, err
	}
	defer func() { _ = rows.Close() }() // Err has what matters
	var waits []float64
	for rows.Next() {
		var ms float64
		if err := rows.Scan(&ms); err != nil {
			return m, err
		}
		waits = append(waits, ms)
	}
	if err := rows.Err(); err != nil {
		return m, err
	}
	m.wait50, m.wait99 = quantile(waits, 0.5), quantile(waits, 0.99)
	_, m.chains, err = b.chain(ctx, p, count/2, capacity)
	return m, err
}
