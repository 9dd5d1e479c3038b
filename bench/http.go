package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strconv"
	"strings"

	"gantry/internal/access"
)

// conns is how many requests are in flight.
const conns = 8

// compare measures one operation against the bare handler's: requests per second, and the processor time of the server for each.
func (b *bench) compare(ctx context.Context, p *place, what string, target float64, ours, bare []string) ([]row, error) {
	var cpus [2][]float64
	side := func(n int, addr string, pid int, requests []string) func() (float64, error) {
		return func() (float64, error) {
			before := cpuOf(pid)
			got, err := b.drive(ctx, load{Addr: addr, Conns: conns, Time: b.took, Requests: requests})
			if err != nil {
				return 0, err
			}
			cpus[n] = append(cpus[n], float64((cpuOf(pid)-before).Microseconds())/float64(got.Done))
			return got.perSecond(), nil
		}
	}
	a, z := side(0, p.oursAt, p.oursPID, ours), side(1, p.bareAt, p.barePID, bare)
	for _, warm := range []func() (float64, error){a, z} {
		if _, err := warm(); err != nil {
			return nil, err
		}
	}
	cpus = [2][]float64{}
	x, y, err := b.interleave(a, z)
	if err != nil {
		return nil, err
	}
	return []row{{
		what: what, ratios: ratios(x, y), target: target, ours: each(x, perSec), bare: each(y, perSec),
		note: fmt.Sprintf("server's CPU %.0f / %.0f µs a request", median(cpus[0]), median(cpus[1])),
	}}, nil
}

func listFigure(n int) func(ctx context.Context, b *bench, engine string) ([]row, error) {
	return func(ctx context.Context, b *bench, engine string) ([]row, error) {
		p, err := b.at(ctx, engine)
		if err != nil {
			return nil, err
		}
		ours := fmt.Sprintf("/v3/organizations/%s/sessions?first=%d", p.org, n)
		bare := fmt.Sprintf("/sessions?first=%d", n)
		if err := p.alike(ctx, ours, bare); err != nil {
			return nil, err
		}
		return b.compare(ctx, p, fmt.Sprintf("a page of %d sessions, requests/s", n), 0.85,
			[]string{request("GET", ours, p.key, "")}, []string{request("GET", bare, "", "")})
	}
}

func getFigure(ctx context.Context, b *bench, engine string) ([]row, error) {
	p, err := b.at(ctx, engine)
	if err != nil {
		return nil, err
	}
	ours, bare := "/v3/organizations/"+p.org+"/sessions/"+p.session, "/sessions/"+p.session
	if err := p.alike(ctx, ours, bare); err != nil {
		return nil, err
	}
	return b.compare(ctx, p, "one session, requests/s", 0.85,
		[]string{request("GET", ours, p.key, "")}, []string{request("GET", bare, "", "")})
}

// alike refuses to compare two handlers that don't answer alike. Addresses and cursors may differ.
func (p *place) alike(ctx context.Context, ours, bare string) error {
	var answers [2]any
	for i, from := range []string{"http://" + p.oursAt + ours, "http://" + p.bareAt + bare} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+p.key)
		res, err := plain.Do(r)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // it was read
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &answers[i]); err != nil {
			return fmt.Errorf("%s: %w: %.200s", from, err, text)
		}
		strip(answers[i])
	}
	if !reflect.DeepEqual(answers[0], answers[1]) {
		return fmt.Errorf("%s and the baseline answer differently: %.600v / %.600v", ours, answers[0], answers[1])
	}
	return nil
}

func strip(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	if m["end_cursor"] != nil {
		m["end_cursor"] = "set"
	}
	delete(m, "url")
	items, _ := m["items"].([]any)
	for _, i := range items {
		strip(i)
	}
}

func createFigure(ctx context.Context, b *bench, engine string) ([]row, error) {
	p, err := b.at(ctx, engine)
	if err != nil {
		return nil, err
	}
	ours := p.creates("Look at the tests of the parser.")
	bare := make([]string, len(ours))
	for i, r := range ours {
		_, body, _ := strings.Cut(r, "\r\n\r\n")
		bare[i] = request("POST", "/sessions", "", body)
	}
	if err := p.sameRows(ctx, ours[:1], bare[:1]); err != nil {
		return nil, err
	}
	return b.compare(ctx, p, "POST a session, requests/s", 0.75, ours, bare)
}

// written are the tables that a POST could write rows to.
var written = []string{
	"sessions", "session_tags", "session_repos", "session_secrets", "session_events", "session_commands", "queue", "queue_lanes",
	"audit_entries", "idempotency_keys", "attachments", "access_changes", "usage_entries", "usage_daily",
	"metric_categories", "metric_people", "metric_active", "metric_gaps",
}

// sameRows refuses to compare two handlers that don't leave the same number of rows behind.
func (p *place) sameRows(ctx context.Context, ours, bare []string) error {
	var grown [2][]int64
	for i, l := range []load{{Addr: p.oursAt, Requests: ours}, {Addr: p.bareAt, Requests: bare}} {
		l.Conns, l.Count = 1, 1
		before, err := p.rows(ctx)
		if err != nil {
			return err
		}
		if _, err := p.b.drive(ctx, l); err != nil {
			return err
		}
		after, err := p.rows(ctx)
		if err != nil {
			return err
		}
		for t := range after {
			grown[i] = append(grown[i], after[t]-before[t])
		}
	}
	if !reflect.DeepEqual(grown[0], grown[1]) {
		return fmt.Errorf("a POST writes other rows than the baseline: %v / %v in %v", grown[0], grown[1], written)
	}
	return nil
}

func (p *place) rows(ctx context.Context) ([]int64, error) {
	out := make([]int64, len(written)+1)
	for i, t := range written {
		if err := p.db.QueryRowContext(ctx, `SELECT count(*) FROM `+t).Scan(&out[i]); err != nil {
			return nil, err
		}
	}
	// The counters of a day are rows that are there already: what they count must grow alike.
	err := p.db.QueryRowContext(ctx, `SELECT COALESCE(SUM(sessions), 0) FROM metric_days`).Scan(&out[len(written)])
	return out, err
}

// selfFigure compares an authenticated operation with an empty handler on the server's own router, with what that does for every request
// (request id, recovery, log, metrics), and, to show what those cost, with one on chi alone.
func selfFigure(ctx context.Context, b *bench, engine string) ([]row, error) {
	p, err := b.at(ctx, engine)
	if err != nil {
		return nil, err
	}
	self := []string{request("GET", "/v3/self", p.key, "")}
	alone, err := b.compare(ctx, p, "/v3/self against an empty handler on chi alone, requests/s", 0, self, []string{request("GET", "/v3/self", "", "")})
	if err != nil {
		return nil, err
	}
	ours := *p
	ours.bareAt, ours.barePID = p.oursAt, p.oursPID
	same, err := b.compare(ctx, &ours, "/v3/self against /healthz on the same router, requests/s", 0.8, self, []string{request("GET", "/healthz", "", "")})
	return append(alone, same...), err
}

// requireFigure counts what a permission check allocates.
func requireFigure(_ context.Context, b *bench, _ string) ([]row, error) {
	s := access.Subject{Kind: access.ServiceUser, ID: "x"}.WithGrants(
		access.Grant{OrgID: "org-1", Permissions: access.SetOf(access.ManageOrgSessions, access.ViewOrgSessions)})
	const times = 100_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := b.clock.Now()
	for range times {
		if err := access.Require(s, access.ViewOrgSessions, "org-1"); err != nil {
			return nil, err
		}
	}
	took := b.clock.Since(begun) / times
	runtime.ReadMemStats(&after)
	n := (after.Mallocs - before.Mallocs) / times
	met := "yes"
	if n > 0 {
		met = "no"
	}
	return []row{{what: "a permission check, allocations", ours: strconv.FormatUint(n, 10), bare: "0", note: fmt.Sprintf("target 0: %s; %d ns", met, took.Nanoseconds())}}, nil
}
