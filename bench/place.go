package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gantry/internal/platform/clock"
)

// place is a data directory and a database on one engine, filled once, with the servers that are measured on it.
type place struct {
	b      *bench
	engine string
	data   string
	url    string // of the database
	db     *sql.DB

	admin, org string
	key        string // of a service user of the organization
	session    string // one of the sessions

	ours, bare       *child
	oursAt, bareAt   string
	oursPID, barePID int
}

// seeded is how many sessions a place has before anything is measured.
func (b *bench) seeded() int64 {
	if b.quick {
		return 300
	}
	return 2000
}

// at gives the engine's place, filled, with both servers running.
func (b *bench) at(ctx context.Context, engine string) (*place, error) {
	if p := b.places[engine]; p != nil {
		return p, nil
	}
	p, err := b.newPlace(ctx, engine, engine)
	if err != nil {
		return nil, err
	}
	b.places[engine] = p
	if err := p.fill(ctx); err != nil {
		return nil, err
	}
	if p.bare, p.bareAt, err = p.startBare(ctx); err != nil {
		return nil, err
	}
	p.barePID = p.bare.pid()
	return p, nil
}

// newPlace makes an empty place.
func (b *bench) newPlace(ctx context.Context, engine, name string) (*place, error) {
	p := &place{b: b, engine: engine, data: filepath.Join(b.dir, "data-"+name)}
	if err := os.MkdirAll(p.data, 0o700); err != nil {
		return nil, err
	}
	var err error
	if engine == "sqlite" {
		p.url = "sqlite://" + filepath.Join(p.data, "gantry.db")
	} else if p.url, err = newPostgres(ctx, name); err != nil {
		return nil, err
	}
	p.db, err = openSQL(p.url, false)
	return p, err
}

// newPostgres makes a database on the throw-away server.
func newPostgres(ctx context.Context, name string) (string, error) {
	u, err := url.Parse(os.Getenv(postgresEnv))
	if err != nil {
		return "", err
	}
	d, err := sql.Open("pgx", u.String())
	if err != nil {
		return "", err
	}
	defer func() { _ = d.Close() }() // it was used for one statement
	name = "bench_" + name + "_" + strconv.Itoa(os.Getpid())
	if _, err := d.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

// serve starts `gantry serve` on the place and waits until it is ready.
func (p *place) serve(ctx context.Context, args ...string) (c *child, addr string, err error) {
	addr, err = freeAddr()
	if err != nil {
		return nil, "", err
	}
	args = append([]string{
		"serve", "--data", p.data, "--database", p.url, "--listen", addr, "--requests-in-flight", "1000",
		"--streams-in-flight", "10000",
	}, args...)
	c, err = p.b.start(ctx, "gantry-"+p.engine, p.b.gantry, args...)
	if err != nil {
		return nil, "", err
	}
	if err := ready(ctx, addr, "/readyz", c); err != nil {
		c.kill()
		return nil, "", fmt.Errorf("%w: %s", err, p.b.lastWords("gantry-"+p.engine))
	}
	return c, addr, nil
}

// freeAddr finds an address that is free now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ready asks a server until it answers 200, every half millisecond.
func ready(ctx context.Context, addr, path string, c *child) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 60_000 {
		res, err := client.Get("http://" + addr + path)
		if err == nil {
			_ = res.Body.Close() // only the status counts
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-c.ended:
			return fmt.Errorf("the server ended: %w", c.err)
		default:
		}
		if !clock.Sleep(ctx, 500*time.Microsecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the server at %s doesn't get ready", addr)
}

// fill starts the server, makes a key of the organization and the sessions that lists show.
func (p *place) fill(ctx context.Context) error {
	var err error
	if p.ours, p.oursAt, err = p.serve(ctx, "--no-worker"); err != nil {
		return err
	}
	p.oursPID = p.ours.pid()
	if err := p.keys(ctx); err != nil {
		return err
	}
	_, err = p.b.drive(ctx, load{Addr: p.oursAt, Conns: 8, Count: p.b.seeded(), Requests: p.creates("Look at the tests of the parser.")})
	if err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	return p.db.QueryRowContext(ctx, `SELECT session_id FROM sessions ORDER BY created_at LIMIT 1 OFFSET 50`).Scan(&p.session)
}

// creates are requests that make sessions as callers do: a title, tags on some.
func (p *place) creates(prompt string) []string {
	var out []string
	for i := range 8 {
		body := map[string]any{"prompt": prompt, "title": fmt.Sprintf("Task %d of the nightly run", i)}
		if i%2 == 0 {
			body["tags"] = []string{"nightly", "team-" + strconv.Itoa(i)}
		}
		text, _ := json.Marshal(body) // plain values encode
		out = append(out, request("POST", "/v3/organizations/"+p.org+"/sessions", p.key, string(text)))
	}
	return out
}

// keys reads the first admin's key and makes one of a service user of the organization.
func (p *place) keys(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(p.data, "initial-admin.json"))
	if err != nil {
		return err
	}
	var first struct {
		Token string `json:"token"`
		OrgID string `json:"org_id"`
	}
	if err := json.Unmarshal(text, &first); err != nil {
		return err
	}
	p.admin, p.org = first.Token, first.OrgID
	return p.serviceUser(ctx)
}

// serviceUser makes the organization's key that the load uses.
func (p *place) serviceUser(ctx context.Context) error {
	var made struct {
		Token string `json:"token"`
	}
	err := call(ctx, "POST", "http://"+p.oursAt+"/v3beta1/organizations/"+p.org+"/service-users", p.admin,
		map[string]any{"name": "bench", "role_id": "org_admin", "ttl_seconds": 86400}, &made)
	p.key = made.Token
	return err
}

// plain is for requests of the bench itself, to its own servers.
var plain = &http.Client{Timeout: time.Minute}

// call is one request of the bench itself.
func call(ctx context.Context, method, url, key string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	res, err := plain.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was read
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d: %s", method, url, res.StatusCode, got)
	}
	return json.Unmarshal(got, into)
}

// startBare starts the baseline on the same database.
func (p *place) startBare(ctx context.Context) (*child, string, error) {
	return p.b.inner(ctx, "bare", bareTask{Database: p.url, Org: p.org, Log: filepath.Join(p.b.dir, "bare-requests.log")})
}

func (p *place) close() {
	for _, c := range []*child{p.ours, p.bare} {
		if c != nil {
			c.kill()
		}
	}
	if p.db != nil {
		_ = p.db.Close() // nothing is in flight
	}
}
